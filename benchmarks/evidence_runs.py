"""Doing the runs of a table: each once, and its lines kept in docs/evidence/TABLE.csv.

A run is done when its last line has its scores.  One that was cut short continues from its checkpoint, and
where it has none yet it begins anew.  A lock file beside a run's folder keeps two workers, or two
invocations, from the same run.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

import pandas as pd
from evidence_data import ROOT, alone, can_be_had, made
from evidence_gap import target_gap
from evidence_one import with_one_candidate
from evidence_tables import KEY, read
from evidence_trials import Trial

from trajrl.core.atomic_files import new_file

ROWS = ROOT / "docs" / "evidence"
SCORES = ("last", "mean_last_10", "best", "selected")
GROWING = ("gauntlet", "samplers")  # tables whose runs are long: lines are kept as they come
PAUSE = 20.0  # seconds between two looks at a run's evaluations
SHOWN = re.compile(r"^step +(\d+): .*\[(\d+) s\]$", re.MULTILINE)  # how a run's log ends an evaluation


def rows_of(trial: Trial, folder: Path) -> pd.DataFrame:
    """Return a line for each evaluation of a run; when it has ended the last one also has its scores.

    Of two phases they are the online one's, whose step 0 is the end of the offline one.
    """
    first, folder = folder, parts(trial, folder)[-1]
    evals = pd.read_csv(folder / "evals.csv").groupby("step")
    found = evals[["return", "score"]].mean().round(2)
    if "success" in evals.obj and evals.obj.success.notna().any():
        found["success"] = evals.success.mean().round(4)
    found = found.reset_index()
    found.insert(0, "seed", trial.seed)
    found.insert(0, "cell", trial.cell)
    found.insert(0, "data", trial.data)
    found["last"] = float("nan")  # until the run has ended
    found["seconds"] = found.step.map(seconds_of(folder)) if not trial.online else None
    found["commit"] = commit()
    found["fingerprint"] = json.loads((folder / "versions.json").read_text())["data_fingerprint"]
    if (folder / "summary.json").exists():
        add_scores(found, trial, first)
    return found


def add_scores(found: pd.DataFrame, trial: Trial, first: Path) -> None:
    """Give the last line of a run its scores, and what its table measures besides."""
    folder, last = parts(trial, first)[-1], found.index[-1]
    summary = json.loads((folder / "summary.json").read_text())
    for name in SCORES:
        score = summary["scores"][name]  # an agent that does not clone selects nothing by its cloning loss
        found.loc[last, name] = round(score["value"], 2) if score else float("nan")
    for end in ("low", "high"):
        found.loc[last, end] = round(summary["scores"]["last"][end], 2)
    if trial.table == "returns":
        for name, value in target_gap(folder).items():
            found.loc[last, name] = round(value, 6)
    if trial.table == "samplers":
        found.loc[last, "drawn"] = json.loads((folder / "config.json").read_text())["sampler"]
    if trial.table == "gauntlet":
        found.loc[last, "of_data"] = of_data(summary)
        # Updates and evaluations are evenly spaced: an evaluation comes after its share of the time.
        own = summary["processor_seconds"] / trial.together
        found["processor"] = (own * found.step / found.step[last]).round(1)
        found["together"] = trial.together
        student = (summary.get("distilled") or {}).get("score")
        if student:
            found.loc[last, "student"] = round(student["value"], 4)
        with_one_candidate(found, folder)
    summaries = [json.loads((part / "summary.json").read_text()) for part in parts(trial, first)]
    found.loc[last, "seconds"] = round(sum(part["seconds"] for part in summaries))


def of_data(summary: dict) -> float | None:
    """Return the data's own average, on the scale of the run's scores where that is known."""
    average = summary["data"].get(f"average_{summary['scale']}")
    return None if average is None else round(average, 2)


def seconds_of(folder: Path) -> dict[int, int]:
    """Return the seconds that a run had taken at the end of each evaluation, from its log."""
    log = log_of(folder)
    return {int(step): int(taken) for step, taken in SHOWN.findall(log.read_text() if log.exists() else "")}


def log_of(folder: Path) -> Path:
    """Return the file that a run's output goes to."""
    return folder.with_name(f"{folder.name}.txt")


def commit() -> str:
    """Return the commit of this tree, with a + where files differ from it."""
    words = ["git", "-C", str(ROOT)]
    head = subprocess.run([*words, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout
    changed = subprocess.run(
        [*words, "diff", "--quiet", "HEAD", "--", "trajrl", "run.py"], check=False
    ).returncode
    return head.strip() + ("+" if changed else "")


def kept(table: str) -> pd.DataFrame:
    """Return the lines of a table that are there."""
    path = ROWS / f"{table}.csv"
    return read(path, table not in GROWING) if path.exists() else pd.DataFrame(columns=[*KEY, "last"])


def of(trial: Trial, lines: pd.DataFrame) -> pd.Series:
    """Say which lines of a table are a run's."""
    return (lines.data == trial.data) & (lines.cell == trial.cell) & (lines.seed == trial.seed)


def lines_of(trial: Trial) -> pd.DataFrame:
    """Return the kept lines of a run, none where nothing of it has been done."""
    own = kept(trial.table)
    return own[of(trial, own)]


def finished(trial: Trial) -> bool:
    """Say whether a run has been done to its end."""
    return bool(lines_of(trial)["last"].notna().any())


def parts(trial: Trial, folder: Path) -> list[Path]:
    """Return the folders of a run's phases."""
    return [folder, folder.with_name(f"{folder.name}-online")] if trial.online else [folder]


def do(trial: Trial, out: Path, policies: Path) -> Path:
    """Do a run, or what is left of it; return its folder."""
    data = made(trial.data, out, policies)
    first, *second = parts(trial, out / trial.name)
    look = partial(add, trial, first) if trial.table in GROWING else None
    phase(trial.command(data, str(first)), first, look)
    for folder in second:
        phase(trial.then(str(first), str(folder)), folder)
    return first


def phase(words: list[str], folder: Path, look: Callable[[], None] | None = None) -> None:
    """Do one phase of a run, or what is left of it; `look` is called when evaluations have come."""
    if (folder / "summary.json").exists():
        return
    if (folder / "checkpoints" / "latest").exists():
        words.insert(1, "--resume")
    elif folder.exists():
        shutil.rmtree(folder)  # it was cut short before its first checkpoint
        log_of(folder).unlink(missing_ok=True)
    evals, seen = folder / "evals.csv", 0
    with log_of(folder).open("a") as log, started(words, log) as process:
        while not ended(process):
            if look and evals.exists() and evals.stat().st_size != seen:
                seen = evals.stat().st_size
                look()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)


@contextmanager
def started(words: list[str], log: TextIO) -> Iterator[subprocess.Popen]:
    """Start a command of the project; whatever stops this process stops it too, at a checkpoint."""
    words = [sys.executable, "run.py", *words]
    with subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=log) as process:
        try:
            yield process
        except BaseException:
            process.terminate()
            raise


def ended(process: subprocess.Popen) -> bool:
    """Wait a while for a process, and say whether it has ended."""
    try:
        process.wait(PAUSE)
    except subprocess.TimeoutExpired:
        return False
    return True


def add(trial: Trial, folder: Path) -> None:
    """Put the lines of a run in place of those that its table has of it."""
    found = rows_of(trial, folder)
    if found.empty:
        return  # its first evaluation is being written
    ROWS.mkdir(parents=True, exist_ok=True)
    with alone(ROWS):
        before = kept(trial.table)
        both = pd.concat([before[~of(trial, before)], found] if len(before) else [found])
        with new_file(ROWS / f"{trial.table}.csv") as path:
            both.sort_values(KEY, kind="stable").to_csv(path, index=False)


@contextmanager
def claimed(trial: Trial, out: Path) -> Iterator[bool]:
    """Say whether a run is this worker's to do: it is not done, and no other holds it."""
    with (out / f"{trial.name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield not finished(trial)


def run(wanted: Iterable[Trial], out: Path, policies: Path, workers: int, hours: float) -> None:
    """Do what is missing and can be done here, some runs at a time; none is begun after `hours`."""
    out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 3600 * hours
    failed: list[str] = []

    def one(trial: Trial) -> None:
        if time.monotonic() >= until or finished(trial) or not can_be_had(trial.data):
            return
        with claimed(trial, out) as mine:
            if mine:
                attempt(trial)

    def attempt(trial: Trial) -> None:
        try:
            add(trial, do(trial, out, policies))
            print(f"{trial.name} is done", flush=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            failed.append(trial.name)
            print(f"{trial.name} failed ({error}); {log_of(out / trial.name)} says why", flush=True)

    pool = ThreadPoolExecutor(workers)
    try:
        for done in [pool.submit(one, trial) for trial in wanted]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
