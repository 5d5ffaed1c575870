"""The gauntlet: every agent on every task, so that a setting is judged on more robots than one.

    python benchmarks/gauntlet.py data                                    # what the tasks are made of
    python benchmarks/gauntlet.py run                                     # what is missing, for days
    python benchmarks/gauntlet.py run --only toy-rooms --agents iql --seeds 1 --hours 2 --workers 2
    python benchmarks/gauntlet.py run --together                          # the seeds of a run as one program
    python benchmarks/gauntlet.py table                                   # what is there, as markdown

Tasks: hopper, walker2d and halfcheetah, each medium, medium-expert, expert25 and replay, and four sparse ones
(evidence_data.py says how they are made).  A setting is tuned on hopper-medium-expert and walker2d-expert25
with seeds 11 and 12 (the densest candidate on hopper-medium-expert and those of the other robots), and
judged on the other tasks with seeds 1, 2 and 3.  Which preset an agent has, and in
what order runs are done, gauntlet_trials.py says; how they are scored and what must be reached,
gauntlet_tables.py.

Every evaluation is a line of docs/evidence/gauntlet.csv as soon as it is there.  A run that was cut short
continues from its checkpoint; a second invocation does what the first does not hold.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import gauntlet_tables
import gauntlet_trials
from evidence_data import ROOT, made
from evidence_runs import ROWS, kept, run
from gauntlet_together import run_together
from gauntlet_trials import AGENTS, SEEDS, TABLE, TASKS


def main() -> None:
    """Make data, run, or show the tables."""
    options = asked()
    if options.command == "table":
        if (rows := kept(TABLE)).empty:
            raise SystemExit(f"{ROWS / TABLE}.csv has no line yet; `run` makes some")
        print(gauntlet_tables.tables(rows))
        return
    if not options.policies.is_dir():
        raise SystemExit(f"no folder {options.policies}: --policies names that of hopper-expert.npz")
    out, policies = options.out.resolve(), options.policies.resolve()
    if options.command == "data":
        for task in options.only or TASKS:
            print(made(task, out, policies), flush=True)
        return
    wanted = gauntlet_trials.trials(tuple(options.only), tuple(options.agents), tuple(options.seeds))
    if options.together:
        run_together(wanted, out, policies, options.hours)
    else:
        run(wanted, out, policies, options.workers, options.hours)


def asked() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("data", "run", "table"))
    parser.add_argument("--only", nargs="*", default=[], choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument(
        "--agents", nargs="*", default=[], choices=AGENTS, metavar="AGENT", help=", ".join(AGENTS)
    )
    parser.add_argument("--seeds", nargs="*", type=int, default=[], help=f"left out: {SEEDS}")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "evidence", help="folder of data and runs")
    parser.add_argument("--policies", type=Path, default=ROOT / "data" / "policies")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument(
        "--together", action="store_true", help="train the seeds of a run as one program, one at a time"
    )
    parser.add_argument("--hours", type=float, default=1e9, help="begin nothing after them")
    options = parser.parse_args()
    if options.together and options.workers > 1:
        raise SystemExit("--together is one program at a time; leave --workers out")
    if options.workers < 1:
        raise SystemExit(f"--workers is 1 or more; got {options.workers}")
    return options


if __name__ == "__main__":
    main()
