"""What the page's script draws from, as plain JSON: plotly figures, packed clouds and planes, the style."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import numpy as np

from trajrl.report.charts import style
from trajrl.report.charts.chart import Chart, Cloud, Heat, in_order
from trajrl.report.charts.qfunction import Explorer
from trajrl.report.draw.interactive import axis_titles, draw
from trajrl.report.page.contents import Item

MISSING = 65535  # the code of a number that is not there


def figure_numbers(item: Item) -> dict[str, Any] | None:
    """Return what one figure is drawn from; None for an item that the script does not draw."""
    if isinstance(item, Cloud):
        return cloud_numbers(item)
    if isinstance(item, Explorer):
        return explorer_numbers(item)
    return json.loads(draw(item).to_json()) if isinstance(item, Chart | Heat) else None


def style_numbers() -> dict[str, Any]:
    """Return the style that all figures share."""
    return {
        "layout": style.layout(), "partner": style.dark_of(), "colours": list(style.LIGHT),
        "round": style.ROUND,
        "rounds": list(style.ROUNDS), "scale": style.SCALE, "rule": style.RULE["light"],
        "ink": style.INK["light"],
    }  # fmt: skip


def cloud_numbers(cloud: Cloud) -> dict[str, Any]:
    """Return a cloud: coordinates, and columns as numbers or as codes with names."""
    columns: dict[str, Any] = {}
    for name, values in cloud.columns.items():
        if values.dtype.kind in "OUT":
            names = in_order(map(str, values))
            code = {kind: place for place, kind in enumerate(names)}
            columns[name] = {
                "names": names,
                "codes": packed(np.array([code[str(value)] for value in values])),
            }
        else:
            columns[name] = {"values": packed(values)}
    return {
        "points": [packed(axis) for axis in cloud.points.T], "columns": columns,
        "label": {name: packed(values) for name, values in cloud.label.items()},
        "axes": axis_titles(cloud.explained), "picker": cloud.picker,
    }  # fmt: skip


def explorer_numbers(explorer: Explorer) -> dict[str, Any]:
    """Return the planes of Q, state by state and pair by pair."""
    return {
        "grid": packed(explorer.grid), "pairs": explorer.pairs, "q": packed(explorer.q.ravel()),
        "data_action": [packed(row) for row in explorer.data_action],
        "policy_action": [packed(row) for row in explorer.policy_actions.mean(1)],
    }  # fmt: skip


def packed(values: np.ndarray) -> dict[str, Any]:
    """Return numbers as 16-bit steps between their ends, little-endian, in base64: low + step * code.

    Whole numbers that lie no further apart than that are exact; 65535 stands for a missing number.
    """
    values = np.asarray(values, np.float64).ravel()
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 0.0)
    whole = bool((values[known] == np.round(values[known])).all()) and high - low < MISSING
    step = 1.0 if whole else (high - low) / (MISSING - 1)
    codes = np.full(len(values), MISSING, "<u2")
    codes[known] = np.round((values[known] - low) / (step or 1.0))
    return {"low": low, "step": step, "codes": b64encode(codes.tobytes()).decode()}
