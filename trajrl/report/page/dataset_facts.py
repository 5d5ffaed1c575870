"""The facts of a data set in rows for a reader: one fact a row, what belongs together in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trajrl.report.charts.dataset import describe_groups
from trajrl.store.images import described

if TYPE_CHECKING:
    import pandas as pd

    from trajrl.store.store import TrajectoryStore


def fact_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what `store info` says, as names and values in words."""
    packed = ", packed" if facts["packed"] else ""
    rows = [
        ("fingerprint", facts["fingerprint"]),
        ("environment", facts["environment"] or "none is named"),
        ("size", f"{facts['episodes']:,} episodes, {facts['transitions']:,} steps, "
                 f"{facts['bytes'] / 1e6:,.1f} MB{packed}"),
        ("observations", _observations(facts)),
        ("actions", f"{facts['action_dim']} numbers, {_range(facts['action_range'])}{_box(facts)}"),
        ("lengths", _spread(facts["lengths"])),
        ("returns", _spread(facts["returns"])),
        ("ends", f"{facts['terminated']:,} terminated, {facts['truncated']:,} truncated"),
        ("success", _success(facts)),
        ("read from", str(facts["source_format"] or "not noted")),
    ]  # fmt: skip
    more = {
        "phases": _phases(facts["phases"]),
        "per-step extras": ", ".join(facts["extras"]), "table columns": ", ".join(facts["labels"]),
        "given up at import": f"{facts['dropped_steps']:,} steps" if facts["dropped_steps"] else "",
    }  # fmt: skip
    return rows + [(name, value) for name, value in more.items() if value]


def group_rows(store: TrajectoryStore, by: str) -> pd.DataFrame:
    """Return one row for each source or phase, with column names for a reader."""
    rows = describe_groups(store, by).reset_index().rename(columns=lambda name: name.replace("_", " "))
    rows[by] = rows[by].replace("", "unnamed")
    return rows.rename(columns={"terminated": "share terminated"}).round(3)


def _phases(found: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in found.items()) if len(found) > 1 else ""


def _range(ends: list[float]) -> str:
    return f"from {ends[0]:.4g} to {ends[1]:.4g}"


def _observations(facts: dict[str, Any]) -> str:
    """Say what an observation is: numbers and their range, images and their sizes."""
    shapes = {name: tuple(shape) for name, shape in facts.get("images", {}).items()}
    numbers = f", numbers {_range(facts['obs_range'])}" if facts["obs_range"] else ""
    return described(facts["obs_dim"], shapes) + numbers


def _spread(found: dict[str, float]) -> str:
    return f"{found['min']:.6g} to {found['max']:.6g}, mean {found['mean']:.6g}"


def _success(facts: dict[str, Any]) -> str:
    known = facts["episodes"] - facts["success_unknown"]
    if not known:
        return "not noted"
    unknown = f", {facts['success_unknown']:,} not noted" if facts["success_unknown"] else ""
    return f"{facts['success']:,} succeeded, {known - facts['success']:,} did not{unknown}"


def _box(facts: dict[str, Any]) -> str:
    """Say which box actions were recorded in; one pair where all dimensions have the same."""
    if facts["action_box"] is None:
        return "; no box is named"
    low, high = facts["action_box"]
    same = len(set(low)) == len(set(high)) == 1
    box = f"[{low[0]:g}, {high[0]:g}]" if same else f"{_listed(low)} to {_listed(high)}"
    return f"; box {box}, from {facts['action_box_from']}"


def _listed(values: list[float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"
