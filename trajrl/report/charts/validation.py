"""Held-out episodes beside those learned from: the agent's losses and values over steps, and by third."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trajrl.report.charts import captions
from trajrl.report.charts.chart import Chart, Series
from trajrl.report.charts.curves import logged_over_time
from trajrl.training.held_out_windows import THIRDS, TRAINING

if TYPE_CHECKING:
    import pandas as pd

MEASURED = (  # figure of training/validation.py, title, caption, label
    ("bc_loss", "Behaviour-cloning loss", captions.HELD_OUT_BC, "loss"),
    ("log_likelihood", "Log likelihood", captions.HELD_OUT_LIKELIHOOD, "nats per number of the action"),
    ("td_abs", "TD error", captions.HELD_OUT_TD, "mean absolute TD error"),
    ("q_bias", "Bias of Q", captions.HELD_OUT_BIAS, "mean of Q minus return"),
    ("q_rmse", "Error of Q", captions.HELD_OUT_RMSE, "root mean square of Q minus return"),
    ("q_spearman", "Order of Q", captions.HELD_OUT_ORDER, "rank correlation of Q and return"),
)
MOST_PAIRS = 3  # groups whose both lines have a name; of more, those of training are thin
SAME = {"q_bias": {"Q equals return": 0.0}}  # where the figure's axis has a line of note


def beside_training(runs: pd.DataFrame, logged: pd.DataFrame, place: int = 0, of: str = "") -> list[Chart]:
    """Return a chart of each figure that was measured: held-out windows and training windows of every group.

    Args:
        place: number of these runs in the report's keys
        of: end of the titles
    """
    charts = []
    for name, title, caption, label in MEASURED:
        words = f"held-out-{name}-{place}", f"{title}, held out and learned from{of}", caption, label
        held = logged_over_time(runs, logged, f"validation/{name}", *words)
        seen = logged_over_time(runs, logged, f"validation/{TRAINING}/{name}", *words)
        if held is not None:
            series = paired(held.series, seen.series if seen else [])
            charts.append(replace(held, series=series, marks=SAME.get(name, {})))
    return charts


def paired(held: list[Series], seen: list[Series]) -> list[Series]:
    """Return each group's line of held-out windows followed by that of training windows."""
    thin, training = len(held) > MOST_PAIRS, {one.name: one for one in seen}
    found = []
    for place, one in enumerate(held):
        own = place if thin else 2 * place
        found.append(replace(one, name=f"held out, {one.name}", place=own))
        if (other := training.get(one.name)) is not None:
            name, beside = f"learned from, {one.name}", own if thin else own + 1
            found.append(replace(other, name=name, place=beside, low=None, high=None, faint=thin))
    return found


def by_third(runs: pd.DataFrame, logged: pd.DataFrame, key: str) -> list[Chart]:
    """Return a chart of each figure of one run: held-out windows of each third of the episode."""
    charts = []
    for name, title, _, label in MEASURED:
        words = f"thirds-{name}-{key}", f"{title} by third of the held-out episodes", captions.THIRDS, label
        found = [logged_over_time(runs, logged, f"validation/{third}/{name}", *words) for third in THIRDS]
        series = [
            replace(chart.series[0], name=f"{third} third", place=place)
            for place, (third, chart) in enumerate(zip(THIRDS, found)) if chart
        ]  # fmt: skip
        if series:
            first = next(chart for chart in found if chart)
            charts.append(replace(first, series=series, marks=SAME.get(name, {})))
    return charts
