"""Evidence: how soon a score comes, which sampler helps, what history and long returns are worth.

    python benchmarks/evidence.py run --policies data/policies --workers 2     # what is missing, for hours
    python benchmarks/evidence.py run --only draws history --hours 1           # some of it
    python benchmarks/evidence.py run --only roles --together                  # three seeds as one program
    python benchmarks/evidence.py table                                        # what is there, as markdown
    python benchmarks/evidence.py table samplers                               # of one table
    python benchmarks/evidence.py smoke --policies data/policies               # a cell of each, once more

samplers (sampler_trials.py) decides among samplers on all mixtures, the others (evidence_trials.py) ask one
question each.  Every finished run is a few lines of docs/evidence/TABLE.csv, one for each evaluation; those
runs are not done again, wherever their folders went.  evidence_runs.py does them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import sampler_tables
from evidence_data import ROOT, can_be_had
from evidence_runs import ROWS, do, kept, lines_of, parts, rows_of, run
from evidence_tables import tables
from evidence_trials import Trial, trials
from gauntlet_together import run_together
from sampler_trials import TABLE, every_trial


def smoke(out: Path, policies: Path, workers: int) -> None:
    """Do the quickest kept run of each short table again, with its seed; its last score must lie in a band.

    The band of a cell reaches from the lowest to the highest end of the intervals kept of its seeds.  Each is
    the 95 per cent bootstrap interval of the mean over the episodes of the last evaluation.  Where one seed
    was kept (time, parts, returns, sparse) the band is the interval of its episodes, 4 to 15 points wide.

    It was measured from seeds, all on one kind of processor (two cores of an AMD EPYC), and not from several
    kinds: there the same seed gives the same bits.  On another kind products round otherwise and the run has
    other bits, as if of another seed; of a cell with one seed it may then lie outside without any fault.
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
    options = asked()
    every = list(every_trial())
    tables_wanted = chosen_of("table", [*options.tables, *options.only], every)
    if options.command == "table":
        print(shown(tables_wanted))
        return
    if not options.policies.is_dir():
        raise SystemExit(
            f"no folder {options.policies}: --policies names the one that holds hopper-expert.npz"
        )
    out, policies = options.out.resolve(), options.policies.resolve()
    if options.command == "smoke":
        smoke(options.out / "smoke", policies, options.workers)
        return
    data, cells = chosen_of("data", options.data, every), chosen_of("cell", options.cells, every)
    wanted = [t for t in every if t.table in tables_wanted and t.data in data and t.cell in cells]
    until = time.monotonic() + 3600 * options.hours
    if options.together:
        run_together([trial for trial in wanted if not trial.online], out, policies, options.hours)
    run(wanted, out, policies, options.workers, (until - time.monotonic()) / 3600)
    print(shown(tables_wanted))


def shown(wanted: set[str]) -> str:
    """Return the tables wanted as markdown, as far as there are runs."""
    found = [tables(ROWS, {one}) for one in sorted(wanted - {TABLE})]
    if TABLE in wanted:
        found.append(f"{TABLE}\n\n{sampler_tables.tables(kept(TABLE))}")
    return "\n\n".join(one for one in found if one)


def chosen_of(part: str, named: list[str], every: list[Trial]) -> set[str]:
    """Return the names asked for of a part of trials, all of them where none is; refuse unknown ones."""
    there = {getattr(trial, part) for trial in every}
    if unknown := set(named) - there:
        raise SystemExit(f"no {part} {', '.join(sorted(unknown))}; there are: {', '.join(sorted(there))}")
    return set(named) or there


def asked() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "table", "smoke"))
    parser.add_argument("tables", nargs="*", default=[], help="tables; left out: all")
    parser.add_argument("--only", nargs="*", default=[], help="the same, among other options")
    parser.add_argument("--data", nargs="*", default=[], help="of run: its data sets; left out: all")
    parser.add_argument("--cells", nargs="*", default=[], help="of run: its cells; left out: all")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "evidence", help="folder of data and runs")
    parser.add_argument("--policies", type=Path, default=ROOT / "data" / "policies")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument(
        "--together",
        action="store_true",
        help="train the seeds of an offline run as one program, one at a time",
    )
    parser.add_argument("--hours", type=float, default=1e9, help="begin nothing after them")
    options = parser.parse_intermixed_args()
    if options.workers < 1:
        raise SystemExit(f"--workers is 1 or more; got {options.workers}")
    if options.together and options.workers > 1:
        raise SystemExit("--together is one program at a time; leave --workers out")
    return options


if __name__ == "__main__":
    main()
