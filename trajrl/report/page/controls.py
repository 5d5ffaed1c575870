"""The controls of figures that answer to a reader: plain selects and buttons, so that a keyboard works."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from trajrl.report.charts.chart import Cloud, in_order
from trajrl.report.charts.qfunction import Explorer

TURNS = {"left": -30, "right": 30}  # degrees


def cloud_controls(cloud: Cloud) -> str:
    """Return what chooses a cloud's colours, its groups and its view."""
    groups = in_order(map(str, cloud.columns[cloud.picker]))
    turns = [f'<button type="button" data-turn="{turn}">Turn {way}</button>' for way, turn in TURNS.items()]
    return (
        select("Colour by", "colour", {name: name for name in cloud.columns})
        + select(f"Show {cloud.picker}", "pick", {"all": "all", **{name: name for name in groups}})
        + select("View", "view", {"deep": "3-D", "flat": "flat"})
        + "".join(turns)
    )


def explorer_controls(explorer: Explorer) -> str:
    """Return what chooses the state and the two action dimensions."""
    dimensions = sorted({i for pair in explorer.pairs for i in pair})
    names = {str(i): f"action {i}" for i in dimensions}
    states = {str(i): f"{i}: {text}" for i, text in enumerate(explorer.states)}
    up = str(explorer.pairs[0][1])
    return (
        select("State", "state", states) + select("Across", "across", names) + select("Up", "up", names, up)
    )


def select(label: str, choice: str, names: Mapping[str, str], chosen: str = "") -> str:
    """Return a labelled select."""
    inside = options(names, chosen)
    return f'<label>{escape(label)}<select data-choice="{choice}">{inside}</select></label>'


def options(names: Mapping[str, str], chosen: str = "") -> str:
    """Return the options of a select, from value to name."""
    return "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(name)}</option>'
        for value, name in names.items()
    )
