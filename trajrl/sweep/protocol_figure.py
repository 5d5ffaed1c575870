"""The figure of a protocol: the main figure over both phases, and a self-contained page with its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajrl.report.charts.chart import Chart, Series
from trajrl.report.draw import paper
from trajrl.report.page import html
from trajrl.report.page.contents import Contents, Section, Table
from trajrl.sweep.protocol_rows import ALL, runs_by_x
from trajrl.sweep.published import Published

if TYPE_CHECKING:
    import pandas as pd

PAGE, FIGURE = "protocol.html", "curves"
X = "updates before 0, environment steps after"
CAPTION = (
    "Left of 0 the offline phase, counted in updates; right of it the online phase, in environment steps. "
    "Lines are means over seeds, bands their 95 % intervals by a bootstrap over seeds; thin: single runs."
)
RUNS = "Before, after, and on the way; regret is the mean shortfall below the start."
WHOLE = "Over seeds, and over all tasks where every run has come so far."


def write(
    out: Path,
    title: str,
    value_name: str,
    rows: pd.DataFrame,
    aggregates: pd.DataFrame,
    results: pd.DataFrame,
    beside: Mapping[str, Published],
    notes: Sequence[str],
) -> list[Path]:
    """Write the page and the figure as a PNG; returns their paths."""
    figure = chart(title, value_name, rows, aggregates, beside)
    tables = [
        Table("runs", "Runs", RUNS, results),
        Table("aggregates", "Aggregates", WHOLE, aggregates),
    ]  # fmt: skip
    section = Section("protocol", "Offline, then online", said(notes), [figure, *tables])
    html.write_page(Contents(title, [], [section]), out / PAGE)
    return [out / PAGE, *paper.save([figure], out, "png", overwrite=True)]


def said(notes: Sequence[str]) -> str:
    """Return notes as sentences."""
    return " ".join(f"{note[:1].upper()}{note[1:]}." for note in notes)


def chart(
    title: str,
    value_name: str,
    rows: pd.DataFrame,
    aggregates: pd.DataFrame,
    beside: Mapping[str, Published],
) -> Chart:
    """Return the curves of every task, and of all together where there are several."""
    series = [] if len(aggregates["task"].unique()) > 1 else _single(rows)
    for place, (task, own) in enumerate(aggregates.groupby("task", sort=True)):
        name = "all tasks" if task == ALL else f"task {task}"
        low, high = own["low"].to_numpy(), own["high"].to_numpy()
        x, mean = own["x"].to_numpy(np.float64), own["mean"].to_numpy()
        several = bool((own["runs"] > 1).any())
        series.append(Series(name, x, mean, low if several else None, high if several else None, place))
    shown = aggregates["task"].iloc[-1] if len(aggregates) else ALL
    one = beside.get(ALL if len(aggregates["task"].unique()) > 1 else str(shown))
    share = (-0.02, 1.02) if value_name == "success" else None
    return Chart(
        FIGURE, title, CAPTION, X, value_name, series, marks=_marks(one) if share else {}, y_range=share
    )


def _single(rows: pd.DataFrame) -> list[Series]:
    """Return the curve of every seed, drawn thin."""
    return [
        Series(f"seed {seed}", own["x"].to_numpy(np.float64), own["value"].to_numpy(), faint=True)
        for (_, seed), own in runs_by_x(rows).groupby(["task", "seed"])
    ]


def _marks(one: Published | None) -> dict[str, float]:
    """Return the published values as horizontal lines."""
    if one is None:
        return {}
    before = {} if np.isnan(one.offline) else {f"{one.method} published, 1M offline": one.offline}
    return {**before, f"{one.method} published, and 1M online": one.online}
