"""The early drop of fine-tuning under known remedies and under other samplers: drop, regret, steps to 90 %.

    python benchmarks/early_drop.py --tasks rooms pointmaze --seeds 5 --out out/drop
    python benchmarks/early_drop.py --tasks cube-single cube-double --seeds 2 --out out/drop
    python benchmarks/early_drop.py --cells none "by progress" --out out/drop

One offline run a task and seed, drawn uniformly but where a cell says otherwise, from which every cell goes
on.  Runs are ordinary ones; what was killed continues, what is finished is kept, so the table may grow over
several sessions.  Writes outcomes.csv, prints the table.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from itertools import product
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


class Cell(NamedTuple):
    """What a run in the environment sets, and the run on recorded data that it continues."""

    online: tuple[str, ...] = ()
    offline: tuple[str, ...] = ()


CELLS = {
    "none": Cell(),  # draws are uniform, offline data and online steps one store
    "offline share kept": Cell(("offline_mode=mix", "offline_fraction=0.5", "offline_sampler=uniform")),
    "no offline data, warm-up": Cell(  # until the preset's learning_starts
        ("offline_mode=drop", "begin_with=policy")
    ),
    "lower bound": Cell(("agent.q_agg=lower", "agent.doubt=1")),
    "slower critic at first": Cell(("critic_warmup=2000",)),
    "recent episodes": Cell(("sampler=recent",)),
    "near the policy's own": Cell(("sampler=onpolicy",)),
    "by td_error_rank": Cell(("sampler=priority", "metric=td_error_rank")),
    "offline by cluster, then td_error_rank": Cell(
        ("sampler=priority", "metric=td_error_rank"), ("sampler=cluster",)
    ),
    "by success_binary": Cell(("sampler=priority", "metric=success_binary")),
    "by progress": Cell(("sampler=progress", "sampler.by=success")),
}


def offline_trial(name: str, cell: str, seed: int, out: Path, data: Path) -> Trial:
    """Return the offline run of a task and a seed that a cell continues."""
    task, own = TASKS[name], CELLS[cell].offline
    label = f"{name}-s{seed}-offline" + (f"-{slug(cell)}" if own else "")
    settings = (f"env={task.environment}", f"data={task.data.format(DATA=data)}", "agent=acfql",
                "preset=small", "video_every=0", *task.settings, *own)  # fmt: skip
    return Trial(label, out / "trials" / label, out / "logs" / f"{label}.txt", settings, (), seed)


def online_trial(name: str, cell: str, seed: int, out: Path, before: Path) -> Trial:
    """Return the online run of a task and a seed in a cell."""
    label = f"{name}-{slug(cell)}-s{seed}"
    settings = ("video_every=0", *TASKS[name].online, *CELLS[cell].online)
    words = ("online", "--from", str(before))
    return Trial(
        label, out / "trials" / label, out / "logs" / f"{label}.txt", settings, (), seed, words=words
    )


class Both(NamedTuple):
    """The two runs of a cell."""

    task: str
    cell: str
    before: Trial
    after: Trial


def pairs(tasks: Iterable[str], cells: Iterable[str], seeds: int, out: Path, data: Path) -> Iterator[Both]:
    """Yield the runs of tasks and cells, all of a seed first."""
    for seed, task, cell in product(range(seeds), tasks, cells):
        before = offline_trial(task, cell, seed, out, data)
        yield Both(task, cell, before, online_trial(task, cell, seed, out, before.folder))


def slug(cell: str) -> str:
    """Return a cell's name as part of a folder's."""
    return cell.replace(", ", "-").replace(" ", "-").replace("'", "")


def table(found: pd.DataFrame) -> str:
    """Return a row a task and cell, as markdown: means over seeds."""
    lines = ["| task | cell | seeds | before | after | 95 % | drop | regret | to 90 % |", "|---" * 9 + "|"]
    for (task, cell), own in found.groupby(["name", "cell"], sort=False):
        whole = stats.interval([own["online"].to_numpy()], stats.weighted_mean)
        when = own["steps_to_90"].dropna()
        shares = [f"{own[column].mean():.0%}" for column in ("offline", "online")]
        far = f"{when.mean():.0f} ({len(when)} of {len(own)})" if len(when) else f"never (of {len(own)})"
        cells = [task, cell, str(len(own)), *shares, f"{whole.low:.0%} to {whole.high:.0%}",
                 f"{own['drop'].mean():.0%}", f"{own['regret'].mean():.1%}", far]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def said(trial: Trial, code: int) -> None:
    """Print how a run ended."""
    print(f"{trial.name}: {'finished' if code == 0 else f'exit code {code}, see {trial.log}'}", flush=True)


def main() -> None:
    """Run what is missing, write outcomes.csv, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["rooms"], choices=TASKS, help="what is run of them")
    named = "; ".join(f'"{cell}"' for cell in CELLS)
    parser.add_argument(
        "--cells",
        nargs="+",
        default=list(CELLS),
        choices=CELLS,
        metavar="CELL",
        help=f"left out: all of {named}",
    )
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
    both = list(pairs(options.tasks, options.cells, options.seeds, options.out, options.data))
    resources, first = Resources(workers=options.workers), {pair.before.name: pair.before for pair in both}
    run([trial for trial in first.values() if not trial.finished], resources, said)
    run([pair.after for pair in both if pair.before.finished and not pair.after.finished], resources, said)
    parts = [
        outcomes(rows([Pair(1, TASKS[task].environment, after.seed, before, after)])).assign(
            name=task, cell=cell
        )
        for task, cell, before, after in pairs(TASKS, CELLS, options.seeds, options.out, options.data)
        if before.finished and after.finished
    ]
    if not parts:
        raise SystemExit("no run has finished; the same command continues")
    found = pd.concat(parts, ignore_index=True)
    found.to_csv(options.out / "outcomes.csv", index=False)
    print(table(found))


if __name__ == "__main__":
    main()
