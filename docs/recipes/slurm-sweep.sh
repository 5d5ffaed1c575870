#!/usr/bin/env bash
# A sweep on several machines: a Ray cluster that lives as long as the job, and a sweep that joins it.
#
#   sbatch docs/recipes/slurm-sweep.sh --grid agent=diffusion_ql,edp --seeds 5 --gpus 0.25 --out runs/sweep
#
# Given again after the job's time has run out, it keeps what has finished and continues with the rest.
#SBATCH --job-name=trajrl-sweep
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=128G
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%x-%j.log
set -euo pipefail

port=6379
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
room=(--num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" --block)

srun --nodes=1 --ntasks=1 --nodelist="$head" \
    .venv/bin/ray start --head --node-ip-address "$address" --port "$port" "${room[@]}" &
sleep 20
if [ "$SLURM_NNODES" -gt 1 ]; then
    srun --nodes=$((SLURM_NNODES - 1)) --ntasks=$((SLURM_NNODES - 1)) --exclude="$head" \
        .venv/bin/ray start --address "$address:$port" "${room[@]}" &
    sleep 20
fi

.venv/bin/python run.py sweep --engine ray --address "$address:$port" "$@"
