"""Write a large store of random episodes, to measure on; 100 million transitions take 14 GB.

    python benchmarks/make_large_store.py --out /scratch/large.h5 --transitions 100000000
    python run.py bench store --data /scratch/large.h5 --json

Episodes have 1,000 steps.  With --shards K, an OGBench folder of K npz files is written instead, to import.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from trajrl.cli.bench.generated import LENGTH, generate
from trajrl.core.rng import stream


def main() -> None:
    """Write what was asked for."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--out", type=Path, required=True, help="store file, or folder of the shards")
    options.add_argument("--transitions", type=int, default=100_000_000)
    options.add_argument("--obs-dim", type=int, default=28)
    options.add_argument("--action-dim", type=int, default=6)
    options.add_argument("--shards", type=int, default=0, help="files to write instead of one store")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    if chosen.out.exists():
        sys.exit(f"{chosen.out} exists; choose another name")
    if chosen.shards:
        write_shards(chosen)
    else:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        generate(chosen.out, chosen.transitions, chosen.seed, chosen.obs_dim, chosen.action_dim)


def write_shards(chosen: argparse.Namespace) -> None:
    """Write trajectories of T actions as T + 1 rows, as OGBench does, evenly over the shards."""
    chosen.out.mkdir(parents=True)
    each = max(1, chosen.transitions // LENGTH // chosen.shards)  # episodes of a shard
    for shard in range(chosen.shards):
        rng, rows = stream(chosen.seed, "bench shard", shard), each * (LENGTH + 1)
        np.savez(
            chosen.out / f"generated-v0-{shard:03d}.npz",
            observations=rng.standard_normal((rows, chosen.obs_dim), np.float32),
            actions=rng.uniform(-1, 1, (rows, chosen.action_dim)).astype(np.float32),
            terminals=np.arange(1, rows + 1) % (LENGTH + 1) == 0,
        )


if __name__ == "__main__":
    main()
