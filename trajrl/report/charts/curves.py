"""What changes over steps: learning curves and logged numbers, with intervals across seeds.

A group of a single run has no such interval; its band is over evaluation episodes, and its name says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from trajrl.report import stats
from trajrl.report.charts import captions
from trajrl.report.charts.chart import Chart, Series
from trajrl.report.frames import NO_SCALE, SUCCESS
from trajrl.report.selection import by_step
from trajrl.training.run_dir.evaluations import wilson

if TYPE_CHECKING:
    import pandas as pd

STEP = {"offline": "gradient step", "online": "environment step"}  # what the steps of a phase count
SHARE = (-0.02, 1.02)  # the axis of a share, with its ends in sight
MOST_SINGLE = 12  # single runs drawn behind their group
MOST_STEPS = 200  # points of a curve; longer ones are thinned evenly


def learning_curves(runs: pd.DataFrame, evaluations: pd.DataFrame, seed: int = 0) -> list[Chart]:
    """Return one chart per environment and phase: each group's main figure over steps, single runs behind."""
    charts: list[Chart] = []
    for env, phase, scale, own in _parts(runs, evaluations):
        key, title = f"curves-{len(charts)}", f"Learning curves: {env}, {phase}"
        words = captions.CURVES + on_scale(scale), STEP.get(phase, "step"), value_name(scale)
        charts.append(Chart(
            key, title, *words, _series(own, evaluations, seed, scale), marks=data_mark(own, scale),
            y_range=SHARE if scale == SUCCESS else None,
        ))  # fmt: skip
    return charts


def success_curves(runs: pd.DataFrame, evaluations: pd.DataFrame, seed: int = 0) -> list[Chart]:
    """Return one chart per environment and phase: success over steps, unless that is the main figure."""
    charts: list[Chart] = []
    known = evaluations[evaluations["success"].notna()]
    known = known.assign(value=known["success"])
    for env, phase, scale, own in _parts(runs, known):
        if scale != SUCCESS:
            key, title = f"success-{len(charts)}", f"Success rate: {env}, {phase}"
            words = captions.SUCCESS, STEP.get(phase, "step"), value_name(SUCCESS)
            marks = data_mark(own, SUCCESS)
            series = _series(own, known, seed, SUCCESS)
            charts.append(Chart(key, title, *words, series, marks=marks, y_range=SHARE))
    return charts


def _parts(runs: pd.DataFrame, evaluations: pd.DataFrame) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Yield environment, phase, scale and runs of each part that has evaluations."""
    for env, scale, whole in tasks(runs[runs["run"].isin(evaluations["run"].unique())]):
        for phase, own in whole.groupby("phase", sort=False):
            yield env, str(phase), scale, own


def _series(own: pd.DataFrame, evaluations: pd.DataFrame, seed: int, scale: str) -> list[Series]:
    """Return the curve of every group of runs, and of single runs behind it."""
    series: list[Series] = []
    for place, (group, members) in enumerate(own.groupby("group", sort=False)):
        rows = evaluations[evaluations["run"].isin(members["run"])]
        series += _group_curve(str(group), rows, place, seed, scale)
    return series


def data_mark(own: pd.DataFrame, scale: str) -> dict[str, float]:
    """Return the average of the data on the scale of a chart, if it is known."""
    known = own["data_success"] if scale == SUCCESS else own["data_score"].fillna(own["data_return"])
    return {"average of the data": float(known.mean())} if known.notna().any() else {}


def logged_over_time(
    runs: pd.DataFrame, logged: pd.DataFrame, column: str, key: str, title: str, caption: str, label: str
) -> Chart | None:
    """Return one column of the log, by the end of its name, for every group; None if nobody logged it.

    Steps are gradient steps offline and environment steps online, so runs of one phase belong together.
    """
    columns = [name for name in logged.columns if name.endswith(f"/{column}")]
    if not columns:
        return None
    values = logged[["run", "step"]].assign(value=logged[columns].bfill(axis=1).iloc[:, 0]).dropna()
    series = []
    for place, (group, members) in enumerate(runs.groupby("group", sort=False)):
        own = values[values["run"].isin(members["run"])]
        if len(own):
            steps, table = run_table(own)
            found = stats.curve(table, stats.weighted_mean, resamples=400)
            low, high = (found.low, found.high) if len(table) > 1 else (None, None)
            series.append(Series(counted(str(group), len(table)), steps, found.value, low, high, place))
    phases = runs["phase"].unique()
    across = STEP.get(phases[0], "step") if len(phases) == 1 else "step"
    return Chart(key, title, caption, across, label, series) if series else None


def tasks(runs: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield each environment, the name of its scale (empty: raw returns), and its runs."""
    for env, own in runs.groupby("env", sort=False):
        named = [name for name in own["score_name"] if name not in NO_SCALE]
        yield str(env) or "no environment named", named[0] if named else "", own


def value_name(scale: str) -> str:
    """Return what a value on this scale is called."""
    return "success rate" if scale == SUCCESS else "score" if scale else "return"


def on_scale(scale: str) -> str:
    """Return the end of a caption that names the scale."""
    if scale == SUCCESS:
        return " No scale belongs to this environment; this is the share of episodes that succeeded."
    return f" Scale: {scale}." if scale else " No scale belongs to this environment; these are raw returns."


def run_table(values: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return steps (S,) and one row per run (n, S), NaN where a run has nothing; at most 200 steps."""
    table = values.pivot_table(index="run", columns="step", values="value", observed=True)
    last = table.shape[1] - 1
    kept = np.unique(np.linspace(0, last, min(MOST_STEPS, last + 1)).astype(int))
    return table.columns.to_numpy()[kept], table.to_numpy()[:, kept]


def counted(group: str, count: int) -> str:
    """Name a group with its number of runs."""
    return f"{group} ({count} runs)" if count > 1 else f"{group} (a single run)"


def _group_curve(group: str, own: pd.DataFrame, place: int, seed: int, scale: str) -> list[Series]:
    """Return a group's curve and, behind it, those of its runs."""
    steps, table = run_table(by_step(own))
    single: list[Series] = []
    if len(table) > 1:
        found = stats.curve(table, seed=seed)
        for number, row in enumerate(table[:MOST_SINGLE]):
            single.append(Series(f"{group}, run {number}", steps, row, place=place, faint=True))
    else:
        found = _over_episodes(own, steps, seed, scale)
    name = counted(group, len(table))
    return [*single, Series(name, steps, found.value, found.low, found.high, place)]


def _over_episodes(own: pd.DataFrame, steps: np.ndarray, seed: int, scale: str) -> stats.Interval:
    """Return a single run's mean at every step, with the interval over its evaluation episodes."""
    values = [own.loc[own["step"] == step, "value"].to_numpy() for step in steps]
    if scale == SUCCESS:
        parts = [stats.Interval(*map(np.array, (one.mean(), *wilson(one)))) for one in values]
    else:
        parts = [stats.interval([one], stats.weighted_mean, seed=seed) for one in values]
    return stats.Interval(*(np.array(part) for part in zip(*parts)))
