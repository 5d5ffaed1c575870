#!/usr/bin/env bash
# One run on several machines: torchrun starts a process per GPU on each, and all of them learn the same run.
#
#   sbatch docs/recipes/slurm-run.sh --data x.h5 --agent diffusion_ql --out runs/x
#
# The folder of the repository and of the run must lie on a file system that all machines see.
#SBATCH --job-name=trajrl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=128G
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%x-%j.log
#SBATCH --requeue
#SBATCH --open-mode=append
# Ninety seconds before the end torchrun hears of it, and the run saves a checkpoint.
#SBATCH --signal=INT@90
set -euo pipefail

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=1

# --resume-or-start: a job that SLURM starts again needs no other words.
srun --kill-on-bad-exit=1 .venv/bin/torchrun \
    --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:29500" \
    run.py offline --resume-or-start "$@"
