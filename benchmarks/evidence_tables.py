"""Tables of the evidence from its csv files: of each cell the interquartile mean over seeds, its interval.

(low to high) is over seeds, by resampling them: of two or three it is their range, and their mean stands
before it.  [low to high], of the last score of a single run, is over its episodes.
"""

from __future__ import annotations

from collections.abc import Collection
from math import isnan
from pathlib import Path

import numpy as np
import pandas as pd

from trajrl.report.charts.chart import in_order
from trajrl.report.stats import improvement, interval, weighted_iqm

KEY = ["data", "cell", "seed", "step"]
GAPS = {"value": "mean y_1", "gap": "mean (y_n - y_1) / mean abs y_1", "gap_size": "its mean size"}
SCORES = {"last": "last", "mean_last_10": "mean of the last ten", "best": "best", "selected": "selected"}


def read(path: Path, whole: bool = True) -> pd.DataFrame:
    """Return the lines of a table; each evaluation is there once and, of whole ones, every run has scores."""
    try:
        rows = pd.read_csv(path)
        twice = rows[rows.duplicated(KEY)]
        ends = rows.groupby(KEY[:-1])["last"].last().isna() if whole else rows["step"].isna()
    except (ValueError, KeyError) as error:
        raise SystemExit(f"{path} is damaged ({error}); take it from version control again") from error
    if len(twice) or ends.any():
        cell = tuple(twice[KEY].iloc[0]) if len(twice) else ends[ends].index[0]
        what = "is there twice" if len(twice) else "has no last score"
        raise SystemExit(f"{path}: {', '.join(map(str, cell))} {what}")
    return rows


def tables(folder: Path, only: Collection[str] = ()) -> str:
    """Return every table, or those named, as markdown."""
    found = {
        path.stem: read(path) for path in sorted(folder.glob("*.csv")) if path.stem in (only or [path.stem])
    }
    return "\n\n".join(f"{name}\n\n{table(rows)}" for name, rows in found.items())


def table(rows: pd.DataFrame) -> str:
    """Return a table as markdown, a line for each data and cell, numbers in names in their order."""
    if "success" in rows:
        return successes(rows)
    whole = rows.dropna(subset=["last"])
    gaps = {column: words for column, words in GAPS.items() if column in whole}
    lines = heading(["data", "cell", *SCORES.values(), *gaps.values(), "seeds", "P(better)"])
    for data, of_data in whole.groupby("data", sort=False):
        cells = in_order(of_data.cell.unique())
        for cell in cells:
            own, first = of_data[of_data.cell == cell], of_data[of_data.cell == reference(cells, cell)]
            scores = [estimate(own[column].to_numpy()) for column in SCORES]
            if len(own) == 1:
                scores[0] += f" [{own.low.iloc[0]:.1f} to {own.high.iloc[0]:.1f}]"
            means = [f"{own[column].mean():.3f}" for column in gaps]
            line = [str(data), cell, *scores, *means, str(len(own)), better(own, first)]
            lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines)


def heading(cells: list[str]) -> list[str]:
    """Return the first two lines of a table."""
    return ["| " + " | ".join(cells) + " |", "|---" * len(cells) + "|"]


def successes(rows: pd.DataFrame) -> str:
    """Return per cent of successes at every evaluation: the mean over seeds, and their range."""
    lines = []
    for data, of_data in rows.groupby("data", sort=False):
        steps = sorted(of_data.step.unique())
        lines += [*heading([str(data), *map(str, steps), "seeds"])]
        for cell, own in of_data.groupby("cell", sort=False):
            shares = [100 * own[own.step == step].success for step in steps]
            cells = [f"{share.mean():.0f} ({share.min():.0f} to {share.max():.0f})" for share in shares]
            lines.append("| " + " | ".join([str(cell), *cells, str(own.seed.nunique())]) + " |")
        lines.append("")
    return "\n".join(lines).rstrip()


def reference(cells: list[str], cell: str) -> str:
    """Return what a cell is compared with: uniform sampling by the same agent, nothing changed, the first."""
    known = (f"{cell.partition(',')[0]}, uniform", "uniform", "nothing")
    return next((name for name in known if name in cells), cells[0])


def estimate(values: np.ndarray) -> str:
    """Return the interquartile mean over seeds, of two or three all of their mean, and its interval."""
    if len(values) == 1:
        return "none" if isnan(values[0]) else f"{values[0]:.1f}"
    found = interval([values], weighted_iqm)
    return f"{found.value:.1f} ({found.low:.1f} to {found.high:.1f})"


def better(own: pd.DataFrame, first: pd.DataFrame) -> str:
    """Return the probability that a run has a higher last score than one of the first cell."""
    if own.cell.iloc[0] == first.cell.iloc[0] or min(len(own), len(first)) < 2:
        return ""
    found = improvement([own["last"].to_numpy()], [first["last"].to_numpy()])
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
