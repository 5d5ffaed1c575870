"""What the page's script draws from: every figure by key, and the style they share, as plain JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from trajrl.report import style
from trajrl.report.chart import Chart, Cloud, Heat, in_order
from trajrl.report.contents import Contents
from trajrl.report.figures import axis_titles, draw
from trajrl.report.qfunction import Explorer


def page_numbers(contents: Contents) -> dict[str, Any]:
    """Return all figures and the style."""
    figures: dict[str, Any] = {}
    for item in contents.items():
        if isinstance(item, Cloud):
            figures[item.key] = cloud_numbers(item)
        elif isinstance(item, Explorer):
            figures[item.key] = explorer_numbers(item)
        elif isinstance(item, Chart | Heat):
            figures[item.key] = json.loads(draw(item).to_json())
    shared = {
        "layout": style.layout(), "partner": style.dark_of(), "colours": list(style.LIGHT),
        "rounds": list(style.ROUNDS), "scale": style.SCALE, "rule": style.RULE["light"],
        "ink": style.INK["light"],
    }  # fmt: skip
    return {"figures": figures, "style": shared}


def cloud_numbers(cloud: Cloud) -> dict[str, Any]:
    """Return a cloud: rounded coordinates, and columns as numbers or as codes with names."""
    columns: dict[str, Any] = {}
    for name, values in cloud.columns.items():
        if values.dtype.kind in "OUT":
            names = in_order(map(str, values))
            code = {kind: place for place, kind in enumerate(names)}
            columns[name] = {"names": names, "codes": [code[str(value)] for value in values]}
        else:
            columns[name] = {"values": rounded(values)}
    return {
        "points": [rounded(axis) for axis in cloud.points.T], "labels": cloud.labels, "columns": columns,
        "axes": axis_titles(cloud.explained), "picker": cloud.picker,
    }  # fmt: skip


def explorer_numbers(explorer: Explorer) -> dict[str, Any]:
    """Return the planes of Q, state by state and pair by pair."""
    return {
        "grid": rounded(explorer.grid), "pairs": explorer.pairs, "q": rounded(explorer.q.ravel()),
        "data_action": [rounded(row) for row in explorer.data_action],
        "policy_action": [rounded(row) for row in explorer.policy_actions.mean(1)],
    }  # fmt: skip


def rounded(values: np.ndarray) -> list[float | None]:
    """Return numbers with five significant digits, None where there is none."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.astype(float)]
