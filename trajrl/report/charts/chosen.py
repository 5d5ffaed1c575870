"""Would you have chosen right?  What a criterion says of kept policies, beside what they score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.report.charts import captions
from trajrl.report.charts.chart import Chart, Series
from trajrl.report.selection import by_step

if TYPE_CHECKING:
    import pandas as pd


def by_criterion(
    evaluations: pd.DataFrame, selected: Mapping[str, Mapping[str, Any]], label: str
) -> list[Chart]:
    """Return two charts of each criterion in use: over steps with its band, and against the true score."""
    charts = []
    for by in dict.fromkeys(str(one["by"]) for one in selected.values()):
        own = {run: one["policies"] for run, one in selected.items() if one["by"] == by}
        lines = [band(run, rows, place) for place, (run, rows) in enumerate(own.items())]
        words = f"{by} of kept policies", captions.CRITERION, "step", by
        charts.append(Chart(f"criterion-{by}", *words, lines))
        points = [against(run, rows, evaluations, place) for place, (run, rows) in enumerate(own.items())]
        points = [one for one in points if len(one.y)]
        if points:
            words = f"{by} against the score", captions.CRITERION_SCORE, by, label
            charts.append(Chart(f"criterion-score-{by}", *words, points, kind="points"))
    return charts


def band(run: str, rows: list[dict[str, Any]], place: int) -> Series:
    """Return a criterion over steps."""
    step, value, low, high = (
        np.array([row[n] for row in rows], float) for n in ("step", "value", "low", "high")
    )
    return Series(run, step, value, low, high, place)


def against(run: str, rows: list[dict[str, Any]], evaluations: pd.DataFrame, place: int) -> Series:
    """Return the scores of the policies that were evaluated, over the criterion."""
    value = {int(row["step"]): float(row["value"]) for row in rows}
    means = by_step(evaluations[evaluations["run"] == run]) if len(evaluations) else evaluations
    known = (
        [(value[int(s)], v) for s, v in zip(means["step"], means["value"]) if int(s) in value]
        if len(means)
        else []
    )
    x, y = np.array(known).reshape(-1, 2).T
    return Series(run, x, y, place=place)
