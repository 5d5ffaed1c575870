"""The table of trust: how well each criterion of `select` would have chosen, over runs with an environment.

    python benchmarks/trust.py run runs/* out/evidence/runs/*        # measure what is missing
    python benchmarks/trust.py run runs/* --by td q_start            # some criteria alone
    python benchmarks/trust.py table                                 # what is there, as markdown

A run counts that keeps two policies or more, each with its evaluation.  Every run and criterion is a line
of --out as soon as it is measured; a second invocation measures what is missing.  A criterion that an agent
lacks is a line with the reason.  Scores are those of evals.csv, of a few episodes each: so is the best.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from trajrl.report.choices import choice
from trajrl.report.runs.folders import scan
from trajrl.training.ope import fqe
from trajrl.training.ope.criteria import CRITERIA
from trajrl.training.ope.question import Kept, Question
from trajrl.training.ope.score import SCALES, evaluations, has
from trajrl.training.ope.select import kept_policies, rank
from trajrl.training.run_dir.evaluations import bootstrap_mean, wilson

ROOT = Path(__file__).parents[1]
COLUMNS = (
    "run", "task", "agent", "seed", "criterion", "policies", "scale", "chosen", "best", "last", "regret",
    "spearman", "beats_last", "seconds", "reason",
)  # fmt: skip
JUDGED = tuple(name for name in sorted(CRITERIA) if name != "score")
HEADER = "criterion", "runs", "regret", "95 %", "regret of last", "Spearman", "beats last", "95 %", "as good"


def main() -> None:
    """Measure, or show the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("runs", nargs="*", help="run folders, patterns, folders that hold runs")
    parser.add_argument("--by", nargs="*", default=JUDGED, choices=JUDGED)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "evidence" / "trust" / "rows.csv")
    parser.add_argument("--steps", type=int, default=20_000, help="of the data that values are fitted to")
    parser.add_argument("--updates", type=int, default=fqe.Config.updates, help="of fqe")
    options = parser.parse_args()
    if options.command == "table":
        print(table(kept(options.out)))
        return
    if not options.runs:
        raise SystemExit("name at least one run folder, such as runs/*")
    question = Question(most=options.steps, fitting=fqe.Config(updates=options.updates))
    found = scan(options.runs)
    for note in found.notes:
        print(f"note: {note}", flush=True)
    for run in found.runs:
        measure(run.path, options.by, question, options.out)


def measure(folder: Path, criteria: Iterable[str], question: Question, out: Path) -> None:
    """Add a line for every criterion that a run has none of yet."""
    there = {(row["run"], row["criterion"]) for row in kept(out)} if out.exists() else set()
    missing = [by for by in criteria if (name_of(folder), by) not in there]
    if not missing:
        return
    try:
        policies, scale, score = scored(folder)
    except (OSError, ValueError) as error:
        print(f"note: {folder} is left out: {error}", flush=True)
        return
    for by in missing:
        try:
            row = judged(by, policies, score, question) | {"scale": scale}
        except OSError as error:
            print(f"note: {folder} is left out: {error}", flush=True)
            return
        append(out, row)
        print(f"{row['run']}, {by}: {row['reason'] or 'regret {:.1f}'.format(row['regret'])}", flush=True)


def scored(folder: Path) -> tuple[list[Kept], str, np.ndarray]:
    """Return the kept policies that were evaluated, the scale, and their mean scores (S,)."""
    rows = evaluations(folder)
    scale = next(name for name in SCALES if has(rows, name))
    by_step = {row["step"]: [r[scale] for r in rows if r["step"] == row["step"]] for row in rows}
    policies = [policy for policy in kept_policies([folder]) if policy.step in by_step]
    if len(policies) < 2:
        raise ValueError("it keeps fewer than two policies that were evaluated")
    return policies, scale, np.array([np.mean(by_step[policy.step]) for policy in policies])


def judged(by: str, policies: list[Kept], score: np.ndarray, question: Question) -> dict[str, object]:
    """Rank a run's policies by a criterion and judge the choice."""
    run, began = policies[0].run, time.monotonic()
    task = f"{run.environment() or 'none'} {Path(run.config.data).stem}"
    row: dict[str, object] = dict.fromkeys(COLUMNS, "")
    row |= {"run": name_of(run.folder), "task": task, "agent": run.config.agent, "seed": run.config.seed,
            "criterion": by, "policies": len(policies)}  # fmt: skip
    try:
        found = rank(policies, by, question).estimates
    except ValueError as error:
        return row | {"reason": " ".join(str(error).split())}
    one = choice(found.value, score, found.higher_is_better)
    return row | {
        "chosen": score[one.place], "best": score.max(), "last": score[-1], "regret": one.regret,
        "spearman": one.spearman, "beats_last": int(one.beats_last),
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def name_of(folder: Path) -> str:
    """Return a run's name, with the folders above it that tell runs of one name apart."""
    return "/".join(folder.resolve().parts[-3:])


def append(out: Path, row: dict[str, object]) -> None:
    """Write one line, under a header where the file is new."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not file.tell():
            writer.writeheader()
        writer.writerow(row)


def kept(out: Path) -> list[dict[str, str]]:
    """Return the lines that are there."""
    if not out.exists():
        raise SystemExit(f"{out} has no line yet; `run RUN...` makes some")
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def table(rows: list[dict[str, str]]) -> str:
    """Return one line per criterion, the least regret first, for every scale; regret is on that scale."""
    measured = [row for row in rows if not row["reason"]]
    lines: list[str] = []
    for scale in dict.fromkeys(row["scale"] for row in measured):
        own = [row for row in measured if row["scale"] == scale]
        tasks, runs = ({row[name] for row in own} for name in ("task", "run"))
        lines += [f"{len(runs)} runs of {len(tasks)} tasks, in {scale}:", "", f"| {' | '.join(HEADER)} |"]
        lines += ["|---" * len(HEADER) + "|"]
        by = {row["criterion"]: [r for r in own if r["criterion"] == row["criterion"]] for row in own}
        regret = {name: numbers(of, "regret").mean() for name, of in by.items()}
        lines += [*(line(name, by[name]) for name in sorted(by, key=regret.__getitem__)), ""]
    return "\n".join(lines)


def line(name: str, rows: list[dict[str, str]]) -> str:
    """Return a criterion's line; `as good`: the choice is no worse than the last policy."""
    regret, beats = numbers(rows, "regret"), numbers(rows, "beats_last")
    of_last = numbers(rows, "best") - numbers(rows, "last")
    spearman = numbers(rows, "spearman")
    order = f"{np.nanmean(spearman):.2f}" if np.isfinite(spearman).any() else "none"
    (low, high), (least, most) = bootstrap_mean(regret, 0), wilson(beats)
    cells = (
        name, f"{len(rows)}", f"{regret.mean():.2f}", f"{low:.2f} to {high:.2f}", f"{of_last.mean():.2f}",
        order, f"{beats.mean():.0%}", f"{least:.0%} to {most:.0%}", f"{(regret <= of_last).mean():.0%}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def numbers(rows: list[dict[str, str]], name: str) -> np.ndarray:
    """Return a column as numbers (n,)."""
    return np.array([float(row[name]) for row in rows])


if __name__ == "__main__":
    main()
