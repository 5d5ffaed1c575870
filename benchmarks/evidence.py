"""Evidence: how soon a score comes, which sampler helps, what history and long returns are worth.

    python benchmarks/evidence.py run --policies data/policies --workers 2     # what is missing, for hours
    python benchmarks/evidence.py run --only samplers history --hours 1        # some of it
    python benchmarks/evidence.py table                                        # what is there, as markdown
    python benchmarks/evidence.py smoke --policies data/policies               # a cell of each, once more

Every finished run is a few lines of docs/evidence/TABLE.csv, one for each evaluation; those runs are not done
again, wherever their folders went.  A run that was cut short continues from its checkpoint, and where it has
none yet it begins anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from evidence_data import ROOT, can_be_had, made
from evidence_gap import target_gap
from evidence_tables import KEY, read, tables
from evidence_trials import Trial, trials

from trajrl.core.atomic_files import new_file

ROWS = ROOT / "docs" / "evidence"
SCORES = ("last", "mean_last_10", "best", "selected")
WRITING = Lock()


def rows_of(trial: Trial, folder: Path) -> pd.DataFrame:
    """Return a line for each evaluation of a finished run; the last one also has the run's scores.

    Of two phases they are the online one's, whose step 0 is the end of the offline one.
    """
    seconds = sum(json.loads((part / "summary.json").read_text())["seconds"] for part in parts(trial, folder))
    folder = parts(trial, folder)[-1]
    summary = json.loads((folder / "summary.json").read_text())
    versions = json.loads((folder / "versions.json").read_text())
    evals = pd.read_csv(folder / "evals.csv").groupby("step")
    found = evals[["return", "score"]].mean().round(2)
    if "success" in evals.obj and evals.obj.success.notna().any():
        found["success"] = evals.success.mean().round(4)
    found = found.reset_index()
    found.insert(0, "seed", trial.seed)
    found.insert(0, "cell", trial.cell)
    found.insert(0, "data", trial.data)
    last = found.index[-1]
    for name in SCORES:
        found.loc[last, name] = round(summary["scores"][name]["value"], 2)
    found.loc[last, "low"], found.loc[last, "high"] = (
        round(summary["scores"]["last"][end], 2) for end in ("low", "high")
    )
    if trial.table == "returns":
        for name, value in target_gap(folder).items():
            found.loc[last, name] = round(value, 6)
    found.loc[last, "seconds"] = round(seconds)
    found.loc[last, "commit"] = commit()
    found.loc[last, "fingerprint"] = versions["data_fingerprint"]
    return found


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
    return read(path) if path.exists() else pd.DataFrame(columns=KEY)


def lines_of(trial: Trial) -> pd.DataFrame:
    """Return the kept lines of a run, none where it has not been done."""
    own = kept(trial.table)
    return own[(own.data == trial.data) & (own.cell == trial.cell) & (own.seed == trial.seed)]


def parts(trial: Trial, folder: Path) -> list[Path]:
    """Return the folders of a run's phases."""
    return [folder, folder.with_name(f"{folder.name}-online")] if trial.online else [folder]


def do(trial: Trial, out: Path, policies: Path) -> Path:
    """Do a run, or what is left of it; return its folder."""
    with WRITING:  # two runs may want the same data
        data = made(trial.data, out, policies)
    first, *second = parts(trial, out / trial.name)
    phase(trial.command(data, str(first)), first)
    for folder in second:
        phase(trial.then(str(first), str(folder)), folder)
    return first


def phase(words: list[str], folder: Path) -> None:
    """Do one phase of a run, or what is left of it."""
    if (folder / "summary.json").exists():
        return
    if (folder / "checkpoints" / "latest").exists():
        words.insert(1, "--resume")
    elif folder.exists():
        shutil.rmtree(folder)  # it was cut short before its first checkpoint
    with folder.with_name(f"{folder.name}.txt").open("w") as log:
        subprocess.run([sys.executable, "run.py", *words], cwd=ROOT, check=True, stdout=log, stderr=log)


def add(trial: Trial, folder: Path) -> None:
    """Add the lines of a finished run to its table."""
    with WRITING:
        ROWS.mkdir(parents=True, exist_ok=True)
        both = pd.concat([kept(trial.table), rows_of(trial, folder)])
        with new_file(ROWS / f"{trial.table}.csv") as path:
            both.sort_values(KEY, kind="stable").to_csv(path, index=False)


def run(wanted: Iterable[Trial], out: Path, policies: Path, workers: int, hours: float) -> None:
    """Do what is missing and can be done here, some runs at a time; none is begun after `hours`."""
    out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 3600 * hours

    def one(trial: Trial) -> None:
        if time.monotonic() < until and lines_of(trial).empty and can_be_had(trial.data):
            add(trial, do(trial, out, policies))
            print(f"{trial.name} is done", flush=True)

    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(one, trial) for trial in wanted]:
            done.result()


def smoke(out: Path, policies: Path, workers: int) -> None:
    """Do the quickest kept run of each table again; its last score must lie where its cell's seeds lie.

    On another processor products round otherwise, and a run has other bits, as if of another seed: the
    band reaches over the intervals of all seeds that were kept of the cell.
    """
    out.mkdir(parents=True, exist_ok=True)
    chosen = quickest()
    for trial, _ in chosen.values():
        for folder in parts(trial, out / trial.name):
            shutil.rmtree(folder, ignore_errors=True)  # of a smoke before
    with ThreadPoolExecutor(workers) as pool:
        folders = list(pool.map(lambda pair: do(pair[0], out, policies), chosen.values()))
    failed = [
        trial.name
        for (trial, line), folder in zip(chosen.values(), folders)
        if not lands(trial.name, line, rows_of(trial, folder).iloc[-1], *band(trial))
    ]
    if failed or not chosen:
        raise SystemExit(f"not as kept: {', '.join(failed)}" if failed else "no table is there yet")


def quickest() -> dict[str, tuple[Trial, Any]]:
    """Return the quickest run of each table with its kept line; say which tables cannot be had here."""
    chosen: dict[str, tuple[Trial, Any]] = {}
    for trial in trials():
        mine = lines_of(trial)
        if mine.empty or not can_be_had(trial.data):
            continue
        line = mine.dropna(subset=["seconds"]).iloc[-1]
        if trial.table not in chosen or line.seconds < chosen[trial.table][1].seconds:
            chosen[trial.table] = trial, line
    for table in sorted({trial.table for trial in trials() if not lines_of(trial).empty} - set(chosen)):
        print(f"{table}: left out, its environment is not installed here (make legacy)")
    return chosen


def band(trial: Trial) -> tuple[float, float]:
    """Return the least and the largest end of the intervals kept of a trial's cell, over its seeds."""
    table = kept(trial.table)
    ends = table[(table["data"] == trial.data) & (table["cell"] == trial.cell)].dropna(subset=["low", "high"])
    return float(ends["low"].min()), float(ends["high"].max())


def lands(name: str, line: Any, again: Any, low: float, high: float) -> bool:
    """Say, also aloud, whether a run done again has the data of its kept line and a score in the band."""
    inside = bool(low <= again["last"] <= high)
    same_data = bool(line.fingerprint == again.fingerprint)
    where = f"{'inside' if inside else 'OUTSIDE'} {low:.1f} to {high:.1f} (kept {line['last']:.1f})"
    print(f"{name}: {again['last']:.1f}, {where}{'' if same_data else '; OTHER DATA than kept'}", flush=True)
    return inside and same_data


def main() -> None:
    """Run, show or check the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "table", "smoke"))
    parser.add_argument("--only", nargs="*", default=[], help="tables; left out: all")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "evidence", help="folder of data and runs")
    parser.add_argument("--policies", type=Path, default=ROOT / "data" / "policies")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--hours", type=float, default=1e9, help="begin nothing after them")
    options = parser.parse_args()
    every = list(trials())
    unknown = set(options.only) - {trial.table for trial in every}
    if unknown:
        raise SystemExit(f"no table {', '.join(sorted(unknown))}")
    if options.workers < 1:
        raise SystemExit(f"--workers is 1 or more; got {options.workers}")
    if options.command != "table" and not options.policies.is_dir():
        raise SystemExit(
            f"no folder {options.policies}: --policies names the one that holds hopper-expert.npz"
        )
    if options.command == "table":
        print(tables(ROWS, options.only))
    elif options.command == "smoke":
        smoke(options.out / "smoke", options.policies.resolve(), options.workers)
    else:
        wanted = [trial for trial in every if not options.only or trial.table in options.only]
        out = options.out.resolve()
        run(wanted, out, options.policies.resolve(), options.workers, options.hours)
        print(tables(ROWS, options.only))


if __name__ == "__main__":
    main()
