"""Seeds of a run as one program: three cost less than two of them alone.

`offline --seeds` trains them; each has the folder, and in the end the lines, of a run alone.  What was cut
short continues.  The processor's time in a line is a run's share of the program's.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from evidence_data import can_be_had, made
from evidence_runs import GROWING, add, claimed, ended, finished, log_of, started
from evidence_trials import Trial


def groups(wanted: Iterable[Trial]) -> Iterator[list[Trial]]:
    """Yield the runs that differ in their seed alone, where seeds follow each other."""
    alike: dict[Trial, list[Trial]] = {}
    for trial in wanted:
        alike.setdefault(replace(trial, seed=0), []).append(trial)
    for trials in alike.values():
        in_order = enumerate(sorted(trials, key=lambda trial: trial.seed))
        for _, found in groupby(in_order, key=lambda pair: pair[1].seed - pair[0]):
            group = [trial for _, trial in found]
            yield [replace(trial, together=len(group)) for trial in group]


def run_together(wanted: Iterable[Trial], out: Path, policies: Path, hours: float) -> None:
    """Do what is missing and can be done here, a group at a time; none is begun after `hours`."""
    out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 3600 * hours
    failed: list[str] = []
    for group in groups(wanted):
        if time.monotonic() >= until or all(map(finished, group)) or not can_be_had(group[0].data):
            continue
        with ExitStack() as held:
            if not all(held.enter_context(claimed(trial, out)) for trial in group):
                continue  # another worker has it, or some of it is done: the rest is for runs alone
            try:
                do_group(group, out, policies)
                print(f"{group[0].name} and {len(group) - 1} more are done", flush=True)
            except (OSError, ValueError, subprocess.CalledProcessError) as error:
                failed.append(group[0].name)
                print(f"{group[0].name} failed ({error}); {log_of(out / group[0].name)} says why", flush=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def do_group(group: list[Trial], out: Path, policies: Path) -> None:
    """Do a group, or what is left of it; every evaluation is a line of each run as soon as it is there."""
    first = out / group[0].name
    words = command(group, made(group[0].data, out, policies), out)
    with log_of(first).open("a") as log, started(words, log) as process:
        seen: dict[Trial, int] = {}
        while not ended(process):
            if group[0].table in GROWING:
                look(group, out, seen)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, [sys.executable, "run.py", *words])
    for trial in group:
        add(trial, out / trial.name)


def command(group: list[Trial], data: str, out: Path) -> list[str]:
    """Return the words after `run.py`."""
    folders = str(out / group[0].name).removesuffix(str(group[0].seed)) + "{seed}"
    offline, *words = group[0].command(data, folders)
    return [offline, "--seeds", str(len(group)), "--resume-or-start", *words]


def look(group: list[Trial], out: Path, seen: dict[Trial, int]) -> None:
    """Keep the lines of the runs whose evaluations have grown."""
    for trial in group:
        evals = out / trial.name / "evals.csv"
        if evals.exists() and evals.stat().st_size != seen.get(trial):
            seen[trial] = evals.stat().st_size
            add(trial, out / trial.name)
