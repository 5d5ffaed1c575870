"""Groups of runs against one another: the four scores, performance profiles, and who beats whom."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from trajrl.report import stats
from trajrl.report.charts import captions
from trajrl.report.charts.chart import Chart, Series
from trajrl.report.charts.curves import SHARE, counted, on_scale, tasks, value_name
from trajrl.report.frames import NO_SCALE, SCORES, SUCCESS

if TYPE_CHECKING:
    import pandas as pd

SPOKEN = {
    "last": "last", "mean_last_10": "mean of last 10", "best": "best (oracle)", "selected": "selected",
}  # fmt: skip


def score_charts(runs: pd.DataFrame, scores: pd.DataFrame, seed: int = 0) -> list[Chart]:
    """Return one chart per environment: the four scores of each group."""
    charts: list[Chart] = []
    names = np.array([SPOKEN[name] for name in SCORES])
    for env, scale, own in tasks(_with(runs, scores)):
        series = []
        for place, (group, members) in enumerate(own.groupby("group", sort=False)):
            found = stats.curve(members[list(SCORES)].to_numpy(float), seed=seed)
            low, high = (found.low, found.high) if len(members) > 1 else (None, None)
            series.append(Series(counted(str(group), len(members)), names, found.value, low, high, place))
        key, title = f"scores-{len(charts)}", f"The four scores: {env}"
        caption, label = captions.SCORES + on_scale(scale), value_name(scale)
        within = SHARE if scale == SUCCESS else None
        charts.append(Chart(key, title, caption, "which policy", label, series, kind="dots", y_range=within))
    return charts


def aggregate(runs: pd.DataFrame, scores: pd.DataFrame, seed: int = 0) -> Chart | None:
    """Return the four scores, over all their environments, of groups that ran in several; None without any.

    Only environments with a score count, or where none has one those that know success: raw returns of
    different tasks cannot be averaged.
    """
    merged = _scaled(_with(runs, scores))
    several = merged.groupby("group")["env"].transform("nunique") > 1
    series = []
    for place, (group, own) in enumerate(merged[several].groupby("group", sort=False)):
        parts = {which: _per_task(own, which) for which in SCORES}
        found = {which: stats.interval(tasks, seed=seed) for which, tasks in parts.items() if tasks}
        value, low, high = (np.array(column) for column in zip(*found.values()))
        name = f"{counted(str(group), len(own))}, {own['env'].nunique()} environments"
        series.append(Series(name, np.array([SPOKEN[which] for which in found]), value, low, high, place))
    label = f"interquartile mean {value_name(merged['score_name'].iloc[0]) if len(merged) else 'score'}"
    words = "All environments together", captions.AGGREGATE, "which policy", label
    return Chart("aggregate", *words, series, kind="dots") if series else None


def profiles(runs: pd.DataFrame, scores: pd.DataFrame, which: str = "last", seed: int = 0) -> Chart | None:
    """Return the share of runs above each score, for groups of two runs and more; None if there are none.

    Scores of several environments are pooled where each has a scale; raw returns only within one environment.
    """
    merged = _with(runs, scores).dropna(subset=[which])
    merged = _scaled(merged) if merged["env"].nunique() > 1 else merged
    groups = [(str(group), own) for group, own in merged.groupby("group", sort=False) if len(own) > 1]
    if not groups:
        return None
    thresholds = np.linspace(merged[which].min(), merged[which].max(), 60)
    series = []
    for place, (group, own) in enumerate(groups):
        found = stats.profile(_per_task(own, which), thresholds, seed=seed)
        series.append(Series(counted(group, len(own)), thresholds, found.value, found.low, found.high, place))
    labels = f"score, {SPOKEN[which]}", "share of runs above"
    return Chart("profiles", "Performance profiles", captions.PROFILES, *labels, series, y_range=(0, 1))


def improvements(
    runs: pd.DataFrame, scores: pd.DataFrame, which: str = "last", seed: int = 0
) -> Chart | None:
    """Return P(a run of one group beats one of another), for pairs with two runs each of a task."""
    merged = _with(runs, scores).dropna(subset=[which])
    rows: dict[str, stats.Interval] = {}
    for a, b in combinations(dict.fromkeys(merged["group"]), 2):
        pairs = [
            (own.loc[own["group"] == a, which].to_numpy(), own.loc[own["group"] == b, which].to_numpy())
            for _, own in merged.groupby("env", sort=False)
        ]
        pairs = [pair for pair in pairs if min(map(len, pair)) > 1]
        if pairs:
            rows[f"{a} beats {b}"] = stats.improvement(
                [x for x, _ in pairs], [y for _, y in pairs], seed=seed
            )
    if not rows:
        return None
    value, low, high = (np.array(column, float) for column in zip(*rows.values()))
    series = [Series("probability", np.array(list(rows)), value, low, high)]
    return Chart(
        "improvement", "Who beats whom", captions.IMPROVEMENT, "pair of groups", "probability", series,
        kind="dots", marks={"no difference": 0.5}, y_range=(0, 1),
    )  # fmt: skip


def _with(runs: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Join runs with their scores; runs without an evaluation are left out."""
    return runs.drop(columns=list(SCORES)).merge(scores, on="run")


def _scaled(merged: pd.DataFrame) -> pd.DataFrame:
    """Keep the runs of environments that have a score; if none has, those that know success."""
    scored = merged[~merged["score_name"].isin([*NO_SCALE, SUCCESS])]
    return scored if len(scored) else merged[merged["score_name"] == SUCCESS]


def _per_task(own: pd.DataFrame, which: str) -> list[np.ndarray]:
    """Return a group's scores, one array per environment."""
    parts = [part[which].dropna().to_numpy() for _, part in own.groupby("env", sort=False)]
    return [part for part in parts if len(part)]
