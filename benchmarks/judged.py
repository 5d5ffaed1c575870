"""How well merit tells a quarter of expert episodes from medium ones, on data that nothing was tuned on.

    python benchmarks/judged.py --policies DIR --out out/judged      # records what is missing

Merit and its split are those of `--sampler quality` and `stratified_ql`; where the recordings came from they
do not see.  Thresholds were looked at on recordings of seeds 21 to 23 and on X-expert25 of evidence_data.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from trajrl import TrajectoryStore
from trajrl.samplers import make_sampler
from trajrl.samplers.auto import decide

ROOT = Path(__file__).parents[1]

ROBOTS = {"hopper": "Hopper-v4", "walker2d": "Walker2d-v4", "halfcheetah": "HalfCheetah-v4"}
SEEDS = (31, 32, 33)
MEASURES = ("balanced_accuracy", "auroc", "expert_share", "expected_share")


def recorded(robot: str, seed: int, out: Path, policies: Path) -> Path:
    """Return a recording of 36,000 steps, a quarter of them an expert's, made here unless it is there."""
    path = out / f"{robot}-{seed}.h5"
    if not path.exists():
        words = ["collect", "--env", ROBOTS[robot], "--recipe", "skewed", "--policies", str(policies)]
        words += ["--seed", str(seed), "--steps", "36000", "--out", str(path)]
        subprocess.run([sys.executable, "run.py", *words], cwd=ROOT, check=True, capture_output=True)
    return path


def main() -> None:
    """Record what is missing and print a line for each recording."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--policies", type=Path, default=ROOT / "data" / "policies")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "judged", help="folder of the recordings")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print("| recording | balanced accuracy | AUROC | experts | called good | gap | auto |")
    print("|---" * 7 + "|")
    for robot in ROBOTS:
        for seed in options.seeds:
            store = TrajectoryStore.open(
                recorded(robot, seed, options.out.resolve(), options.policies.resolve())
            )
            found, asked = make_sampler("quality", store).report, decide(store)
            cells = [f"{found[name]:.3f}" for name in MEASURES]
            cells += [f"{asked.facts.gap:.1f}", asked.sampler]
            print(f"| {robot}, seed {seed} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
