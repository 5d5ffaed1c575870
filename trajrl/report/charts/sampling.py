"""What was drawn beside what was there: by cluster, source, return, age or phase, and over time."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from trajrl.report.charts import captions
from trajrl.report.charts.chart import Chart, Series, in_order

if TYPE_CHECKING:
    import pandas as pd

BANDS = 5  # of a number that episodes are grouped by, each with the same number of episodes
CLUSTER = {  # by what is drawn for; draws that serve both roles are logged as those of the values
    "values": re.compile(r"[^/]+/sampler/(?!policy/)(?:.*/)?cluster/(\d+|none)/draw_share"),
    "policy": re.compile(r"[^/]+/sampler/policy/(?:.*/)?cluster/(\d+|none)/draw_share"),
}
AGE = re.compile(r"online/sampler/age/(quarter_\d)_share")
ROWS = re.compile(r"[^/]+/rows/(.+)")
UNKNOWN = "unknown"


def drawn(runs: pd.DataFrame, episodes: pd.DataFrame, by: str) -> Chart | None:
    """Return each kind of episode's share of the steps of the data and of the draws of each group of runs.

    `by` is a column of the episodes: cluster, source, phase, or a number such as returns, age or length, cut
    into five bands.  None where every episode is of one kind.  Held-out episodes do not count.
    """
    if not len(episodes) or by not in episodes.columns:
        return None
    if "alive" in episodes.columns:
        episodes = episodes[episodes["alive"].astype(bool)]
    if by == "cluster":  # runs without clusters say nothing of them
        known = episodes.groupby("run", observed=True)["cluster"].transform("max") >= 0
        episodes = episodes[known]
    if not len(episodes):
        return None
    kinds, names = categories(episodes, by)
    if len(names) < 2:
        return None
    rows = episodes.assign(kind=kinds)
    data = _shares(rows, "length", names)
    series = [Series("share of the data", np.array(names), data)]
    for group, members in runs.groupby("group", sort=False):
        own = rows[rows["run"].isin(members["run"])]
        for counted, column in draws_of(own).items():
            shares = _shares(own, column, names)
            series.append(Series(f"{counted}, {group}", np.array(names), shares, place=len(series)))
    kind = by.removesuffix("s")  # the column `returns` holds one return each
    words = f"Data and draws by {kind}", captions.DRAWN, kind, "share of all steps"
    return Chart(f"drawn-{by}", *words, series, kind="bars")


def draws_of(episodes: pd.DataFrame) -> dict[str, str]:
    """Return what counts the draws of some runs, by words: one column, or one for each role."""
    by_role = "policy_draws" in episodes and episodes["policy_draws"].sum() > 0
    columns = {"share of draws": "draws"}
    if by_role:
        columns = {"share of draws for the policy": "policy_draws", "share of draws for the values": "draws"}
    return {words: column for words, column in columns.items() if len(episodes) and episodes[column].sum()}


def categories(episodes: pd.DataFrame, by: str) -> tuple[np.ndarray, list[str]]:
    """Return the kind (n,) of every episode, by name, and all names in order."""
    values = episodes[by]
    if by == "cluster":
        kinds = np.where(values >= 0, "cluster " + values.astype(str), UNKNOWN)
        return kinds, in_order(kinds)
    if values.dtype.kind not in "iuf":
        kinds = values.astype(str).replace("", UNKNOWN).to_numpy(object)
        return kinds, in_order(kinds)
    few = np.unique(values)
    if len(few) <= BANDS:
        names = [_number(value) for value in few]
        return np.array(names, object)[np.searchsorted(few, values)], names
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BANDS + 1)))
    if len(edges) < 3:  # most are of one value
        edges = np.unique(np.quantile(few, np.linspace(0, 1, BANDS + 1)))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    names = [f"{_number(low)} to {_number(high)}" for low, high in pairwise(edges)]
    return np.array(names, object)[place], names


def cluster_shares(logged: pd.DataFrame, run: str, role: str = "values") -> Chart | None:
    """Return each cluster's share of the draws of one run over its steps; None if its log has none."""
    of = ", for the policy" if role == "policy" else ""
    words = f"Draws by cluster over time{of}", captions.CLUSTER_SHARES
    return _layers(logged, run, CLUSTER[role], f"shares-{role}-{run}" if of else f"shares-{run}", *words)


def row_shares(logged: pd.DataFrame, run: str) -> Chart | None:
    """Return each source's share of the rows that an online run learned from; None if not logged."""
    words = "Where the updates came from", captions.ROWS
    return _layers(logged, run, ROWS, f"rows-{run}", *words)


def age_shares(logged: pd.DataFrame, run: str) -> Chart | None:
    """Return the share of an online run's draws in each quarter of the steps; None if not logged."""
    return _layers(logged, run, AGE, f"ages-{run}", "Draws by age over time", captions.AGES)


def _layers(
    logged: pd.DataFrame, run: str, pattern: re.Pattern[str], key: str, title: str, caption: str
) -> Chart | None:
    """Return the columns whose names match as layers, named by the pattern's group."""
    own = logged[logged["run"] == run].sort_values("step").dropna(axis=1, how="all")
    columns = {found[1]: name for name in own.columns if (found := pattern.fullmatch(name))}
    if len(columns) < 2:
        return None
    own = own[own[list(columns.values())].sum(axis=1) > 0]  # before the first draw there are no shares
    steps = own["step"].to_numpy()
    series = [
        Series(name_of(short), steps, own[columns[short]].fillna(0).to_numpy(), place=place)
        for place, short in enumerate(in_order(columns))
    ]
    return Chart(key, title, caption, "step", "share", series, kind="shares", y_range=(0, 1))


def name_of(short: str) -> str:
    """Name a layer: a number is that of a cluster, a quarter one of what came, in order."""
    if short.startswith("quarter_"):
        return {"1": "oldest quarter", "4": "newest quarter"}.get(short[-1], f"quarter {short[-1]}")
    return f"cluster {short}" if short.isdigit() else "no cluster" if short == "none" else short


def td_by_episode(episodes: pd.DataFrame, run: str) -> Chart | None:
    """Return the mean TD error of each episode of a run against its return; None if none was measured."""
    own = episodes[episodes["run"] == run]
    if "td_mean" not in own.columns or not own["td_mean"].notna().any():
        return None
    own = own[own["td_mean"].notna()]
    by = next((name for name in ("cluster", "source") if own[name].nunique() > 1), "phase")
    kinds, names = categories(own, by)
    series = []
    for place, name in enumerate(names):
        mine = own[kinds == name]
        series.append(Series(name, mine["returns"].to_numpy(), mine["td_mean"].to_numpy(), place=place))
    words = "TD error by episode", captions.TD_BY_EPISODE, "return", "mean absolute TD error"
    return Chart(f"td-{run}", *words, series, kind="points")


def _shares(rows: pd.DataFrame, column: str, names: list[str]) -> np.ndarray:
    """Return the share of `column` that falls to each kind."""
    total = rows.groupby("kind")[column].sum().reindex(names, fill_value=0).to_numpy(float)
    return total / max(total.sum(), 1e-300)


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
