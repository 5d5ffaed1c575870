"""The early drop of fine-tuning, and what is known to help: drop, regret, steps to 90 % by remedy and task.

    python benchmarks/early_drop.py --tasks rooms pointmaze --seeds 5 --out out/drop
    python benchmarks/early_drop.py --tasks cube-single cube-double --seeds 2 --out out/drop

One offline run a task and seed, from which every remedy goes on.  Runs are ordinary ones; what was killed
continues, what is finished is kept, so the table may grow over several sessions.  Writes outcomes.csv, prints
the table.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from trajrl.report import stats
from trajrl.sweep.grid import Trial
from trajrl.sweep.local import run
from trajrl.sweep.process import Resources
from trajrl.sweep.protocol import Pair
from trajrl.sweep.protocol_rows import outcomes, rows

ROOT = Path(__file__).parents[1]


class Task(NamedTuple):
    """An environment, its data, and what suits it."""

    environment: str
    data: str  # a name, or {DATA}/file of a recipe
    settings: tuple[str, ...] = ()
    online: tuple[str, ...] = ()


MAZE = "ogbench:pointmaze-medium-navigate-singletask-v0"
TASKS = {
    "rooms": Task("toy:rooms", "toy:rooms"),
    "pointmaze": Task(MAZE, "{DATA}/pointmaze-play.h5", ("steps=20000",), ("env_steps=20000",)),
    "cube-single": Task("ogbench:cube-single-play-singletask-v0", "{DATA}/cube-single-play.h5"),
    "cube-double": Task("ogbench:cube-double-play-singletask-task2-v0", "{DATA}/cube-double-play.h5"),
}
REMEDIES: dict[str, tuple[str, ...]] = {
    "none": (),
    "offline share kept": ("offline_mode=mix", "offline_fraction=0.5", "offline_sampler=uniform"),
    "no offline data, warm-up": (
        "offline_mode=drop",
        "begin_with=policy",
    ),  # until the preset's learning_starts
    "lower bound": ("agent.q_agg=lower", "agent.doubt=1"),
    "slower critic at first": ("critic_warmup=2000",),
    "recent episodes": ("sampler=recent",),
    "cluster, then td_error_rank": ("sampler=priority", "metric=td_error_rank"),
}


def offline_trial(name: str, seed: int, out: Path, data: Path) -> Trial:
    """Return the offline run of a task and a seed."""
    task, label = TASKS[name], f"{name}-s{seed}-offline"
    settings = (f"env={task.environment}", f"data={task.data.format(DATA=data)}", "agent=acfql",
                "preset=small", "video_every=0", *task.settings)  # fmt: skip
    return Trial(label, out / "trials" / label, out / "logs" / f"{label}.txt", settings, (), seed)


def online_trial(name: str, remedy: str, seed: int, out: Path, before: Path) -> Trial:
    """Return the online run of a task and a seed under a remedy."""
    label = f"{name}-{remedy.replace(', ', '-').replace(' ', '-')}-s{seed}"
    settings = ("video_every=0", *TASKS[name].online, *REMEDIES[remedy])
    words = ("online", "--from", str(before))
    return Trial(
        label, out / "trials" / label, out / "logs" / f"{label}.txt", settings, (), seed, words=words
    )


def table(found: pd.DataFrame) -> str:
    """Return a row a task and remedy, as markdown: means over seeds."""
    lines = ["| task | remedy | seeds | before | after | 95 % | drop | regret | to 90 % |", "|---" * 9 + "|"]
    for (task, remedy), own in found.groupby(["name", "remedy"], sort=False):
        whole = stats.interval([own["online"].to_numpy()], stats.weighted_mean)
        when = own["steps_to_90"].dropna()
        shares = [f"{own[column].mean():.0%}" for column in ("offline", "online")]
        far = f"{when.mean():.0f} ({len(when)} of {len(own)})" if len(when) else f"never (of {len(own)})"
        cells = [task, remedy, str(len(own)), *shares, f"{whole.low:.0%} to {whole.high:.0%}",
                 f"{own['drop'].mean():.0%}", f"{own['regret'].mean():.1%}", far]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def said(trial: Trial, code: int) -> None:
    """Print how a run ended."""
    print(f"{trial.name}: {'finished' if code == 0 else f'exit code {code}, see {trial.log}'}", flush=True)


def main() -> None:
    """Run what is missing, write outcomes.csv, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["rooms"], choices=TASKS)
    parser.add_argument("--remedies", nargs="+", default=list(REMEDIES), choices=REMEDIES)
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 on")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "out", help="folder of the stores that recipes record"
    )
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="runs at a time")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "drop", help="folder of the runs")
    options = parser.parse_args()
    for name in options.tasks:
        place = Path(TASKS[name].data.format(DATA=options.data))
        if place.suffix == ".h5" and not place.exists():
            parser.error(
                f"{place} is missing: run.py collect --recipe {place.stem} --steps 100000 --out {place}"
            )
    resources, both = Resources(workers=options.workers), []
    for seed in range(options.seeds):
        for name in options.tasks:
            before = offline_trial(name, seed, options.out, options.data)
            both += [
                (name, remedy, before, online_trial(name, remedy, seed, options.out, before.folder))
                for remedy in options.remedies
            ]
    first = {before.name: before for _, _, before, _ in both}
    run([trial for trial in first.values() if not trial.finished], resources, said)
    run([trial for *_, before, trial in both if before.finished and not trial.finished], resources, said)
    parts = []
    for name, remedy, before, trial in both:
        if trial.finished:
            one = outcomes(rows([Pair(1, TASKS[name].environment, trial.seed, before, trial)]))
            parts.append(one.assign(name=name, remedy=remedy))
    if not parts:
        raise SystemExit("no run has finished; the same command continues")
    found = pd.concat(parts, ignore_index=True)
    found.to_csv(options.out / "outcomes.csv", index=False)
    print(table(found))


if __name__ == "__main__":
    main()
