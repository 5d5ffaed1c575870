"""Sparse reward, offline to online: success in toy:rooms, uniform sampling beside trajectory priorities.

    python benchmarks/sparse_online.py --seeds 5 --out out/rooms

One offline run per agent and seed, from which both samplers continue.  A run that has its summary is kept, so
the table may grow over several sessions.  Writes success.csv and prints the table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
AGENTS = ("trajectory_ql", "acfql")
OFFLINE = ["--data", "toy:rooms", "--preset", "demo", "--sampler", "uniform"]
OFFLINE_SET = ["eval_every=0", "first_eval=0", "last_eval_episodes=100", "eval_envs=20", "threads=1"]
ONLINE = ["--env-steps", "6000"]
ONLINE_SET = ["envs=5", "eval_every=1000", "eval_episodes=50", "last_eval_episodes=50"]
SAMPLERS = {
    "uniform": ["--sampler", "uniform"],
    "T-PER": ["--sampler", "priority", "--metric", "td_error_rank"],
}


def run(words: list[str], out: Path) -> Path:
    """Run a command into a folder, unless it is there whole; return the folder."""
    if not (out / "summary.json").exists():
        subprocess.run([sys.executable, "run.py", *words, "--out", str(out)], cwd=ROOT, check=True)
    return out


def offline(agent: str, seed: int, out: Path) -> Path:
    """Return the folder of the offline run of an agent and a seed."""
    words = ["offline", *OFFLINE, "--agent", agent, "--seed", str(seed), "--set", *OFFLINE_SET]
    return run(words, out / f"{agent}-{seed}-offline")


def successes(agent: str, seed: int, out: Path) -> list[dict[str, object]]:
    """Return the share of successes at every evaluation, under both samplers."""
    before = offline(agent, seed, out)
    rows: list[dict[str, object]] = []
    for name, words in SAMPLERS.items():
        command = ["online", "--from", str(before), "--seed", str(seed), *ONLINE, *words]
        folder = run([*command, "--set", *ONLINE_SET], out / f"{agent}-{seed}-{name}")
        shares = pd.read_csv(folder / "evals.csv").groupby("step").success.mean()
        rows += [
            {"agent": agent, "sampler": name, "seed": seed, "step": int(step), "success": float(share)}
            for step, share in shares.items()
        ]
    share = pd.read_csv(before / "evals.csv").success.mean()
    return [*rows, {"agent": agent, "sampler": "offline", "seed": seed, "step": 0, "success": float(share)}]


def table(found: pd.DataFrame) -> str:
    """Return means over seeds, and the least and the best seed, as markdown."""
    percent = found.assign(success=100 * found.success)
    grouped = percent.groupby(["agent", "sampler", "step"]).success
    cells = grouped.agg(lambda x: f"{np.mean(x):.0f} ({np.min(x):.0f} to {np.max(x):.0f})").unstack("step")
    lines = ["| agent | sampler | " + " | ".join(map(str, cells.columns)) + " |", "|---" * 9 + "|"]
    for (agent, sampler), row in cells.fillna("").iterrows():
        lines.append(f"| {agent} | {sampler} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, write success.csv, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 on")
    parser.add_argument("--agents", nargs="+", default=AGENTS, choices=AGENTS)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "rooms", help="folder of the runs")
    options = parser.parse_args()
    rows = [
        row
        for seed in range(options.seeds)
        for agent in options.agents
        for row in successes(agent, seed, options.out.resolve())
    ]
    found = pd.DataFrame(rows)
    found.to_csv(options.out / "success.csv", index=False)
    print(table(found))


if __name__ == "__main__":
    main()
