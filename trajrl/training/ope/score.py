"""The score of evaluation episodes as a criterion: what only those can know who have the environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trajrl.core.json_file import as_written, read_bytes
from trajrl.training.ope.estimate import Estimates, resampled
from trajrl.training.ope.question import Kept, Question, runs_of

SCALES = ("score", "success", "return")  # the first of which all episodes have is the main figure


def by_score(policies: Sequence[Kept], question: Question) -> Estimates:
    """Rank by the main figure of the evaluations: score, else success, else return; the largest first."""
    tables = {run.folder: evaluations(run.folder) for run in runs_of(policies)}
    scale = next(name for name in SCALES if all(has(table, name) for table in tables.values()))
    own = [[row[scale] for row in tables[p.run.folder] if row["step"] == p.step] for p in policies]
    for policy, found in zip(policies, own):
        if not found:
            raise ValueError(f"{policy} was not evaluated; select --by a criterion that needs no environment")
    values = np.full((len(own), 1, max(map(len, own))), np.nan)
    for row, found in zip(values, own):
        row[0, : len(found)] = found
    return resampled("score", values, question.seed)


def has(table: list[dict[str, float]], name: str) -> bool:
    """Say whether every episode has a number of this name."""
    return all(np.isfinite(row[name]) for row in table)


def evaluations(folder: Path) -> list[dict[str, float]]:
    """Return every evaluation episode of a run: step, return, score and success; NaN where nobody says."""
    import csv

    path = folder / "evals.csv"
    if not path.exists():
        raise ValueError(
            f"{folder} has no scores: it was trained without an environment; select --by fqe needs none"
        )
    words = {"": np.nan, "True": 1.0, "False": 0.0}
    with as_written(path):
        rows = list(csv.DictReader(read_bytes(path).decode().splitlines()))
        return [
            {
                "step": int(row["step"]),
                **{name: words[row[name]] if row[name] in words else float(row[name]) for name in SCALES},
            }
            for row in rows
        ]
