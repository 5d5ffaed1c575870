"""What a second draw costs: updates with a batch for each role beside updates with one, in one process.

    python benchmarks/two_draws.py                      # td3_bc, iql and trajectory_ql on the demo store
    python benchmarks/two_draws.py --agents td3_bc --updates 2000

Both runs take whole steps of the training loop (draw, gather, update, feedback, counts) in turns of 20; the
ratio is that of the medians of their processor times, so that other work on the machine slows both alike.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time

sys.path.insert(0, str(Path(__file__).parents[1]))

from trajrl.training import build, loop
from trajrl.training.resolve_config import resolve_config
from trajrl.training.run import Run
from trajrl.training.run_dir.folder import new_folder

TURN = 20  # updates of one run before the other's
WARM = 2  # turns that are not counted
SAMPLERS = {"one": "uniform", "two": "policy=weighted values=uniform"}


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", nargs="+", default=["td3_bc", "iql", "trajectory_ql"])
    parser.add_argument("--updates", type=int, default=400, help="of each run")
    options = parser.parse_args()
    for agent in options.agents:
        took = timed(agent, options.updates)
        one, two = (1e3 * median(times) for times in took.values())
        print(
            f"{agent}: one draw {one:.2f} ms, two {two:.2f} ms an update, ratio {two / one:.3f}", flush=True
        )


def timed(agent: str, updates: int) -> dict[str, list[float]]:
    """Return the processor time of an update in every counted turn, of one draw and of two."""
    took: dict[str, list[float]] = {name: [] for name in SAMPLERS}
    with TemporaryDirectory() as place:
        runs = {name: begun(agent, sampler, Path(place) / name) for name, sampler in SAMPLERS.items()}
        for turn in range(WARM + -(-updates // TURN)):
            for name, run in runs.items():
                began = process_time()
                for _ in range(TURN):
                    loop.train_step(run)
                if turn >= WARM:
                    took[name].append((process_time() - began) / TURN)
        for run in runs.values():
            run.logger.close()
    return took


def begun(agent: str, sampler: str, out: Path) -> Run:
    """Return a run of the demo's settings that has not learned yet."""
    config = resolve_config({"agent": agent, "sampler": sampler, "steps": 100_000, "preset": "demo"})
    return build.build(config, new_folder(config, str(out)))


if __name__ == "__main__":
    main()
