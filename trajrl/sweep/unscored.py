"""Trials without a score, such as those of --env none: why, and what their logs can be judged by instead.

The figures are those of the last row that has them, a mean over the finished trials of each cell; all are
better where they are smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajrl.report.choices import CLONING, LOGGED
from trajrl.training.run_dir.csv_log import read_csv
from trajrl.training.run_dir.evaluations import BC_LOSS

if TYPE_CHECKING:
    import pandas as pd

CRITERIA = {**LOGGED, CLONING: f"/{BC_LOSS}"}  # name: end of a column of the log


def unscored(found: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the trials that have finished and were never scored."""
    done = found[found["state"] == "finished"]
    return done[done["last"].isna()] if "last" in done else done


def why(found: pd.DataFrame) -> str:
    """Say in one line that trials have no score; empty where all that finished have one."""
    if not len(own := unscored(found)):
        return ""
    return (
        f"no scores for {len(own)} of {len(found)}: they have no environment to act in (--env none, or data "
        "that names none that is here); `select` ranks what each run kept"
    )


def judged(found: pd.DataFrame, names: Sequence[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return header and rows of a table: the figures of each cell's trials that were never scored."""
    own = unscored(found)
    logged = {place: last_logged(Path(path)) for place, path in own["path"].items()}
    known = [name for name in CRITERIA if any(name in one for one in logged.values())]
    rows = []
    for cell, group in own.groupby([f"grid.{name}" for name in names], sort=False):
        values = [[logged[place].get(name, np.nan) for place in group.index] for name in known]
        means = [f"{np.mean(each):.4g}" if np.isfinite(each).all() else "" for each in values]
        rows.append((*map(str, cell), str(len(group)), *means))
    return ["seeds", *known], rows


def last_logged(folder: Path) -> dict[str, float]:
    """Return each criterion's last figure in a run's log."""
    found = {}
    for row in read_csv(folder / "metrics.csv"):
        for name, end in CRITERIA.items():
            values = [float(text) for column, text in row.items() if column.endswith(end) and text]
            if values and isfinite(values[0]):
                found[name] = values[0]
    return found
