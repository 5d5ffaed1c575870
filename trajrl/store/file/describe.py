"""What a store file holds, from its table and attributes alone: no column is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trajrl.store.action_box import box_origin, recorded_box
from trajrl.store.file.head import Head, read_head
from trajrl.store.images import PREFIX
from trajrl.store.table import PHASES


def describe_store(path: Path) -> dict[str, Any]:
    """Return what a store file holds, as plain values."""
    return describe(read_head(path), path.stat().st_size)


def describe(head: Head, num_bytes: int) -> dict[str, Any]:
    """Return what a store says of itself, as plain values."""
    table, attributes, columns = head.table, head.attributes, head.columns
    provenance = attributes.get("provenance") or {}
    counts = provenance.get("counts", {})
    terminated = int(table.terminated.sum())
    shapes = {n.removeprefix(PREFIX): list(c.shape[1:]) for n, c in columns.items() if n.startswith(PREFIX)}
    return {
        "format": "trajrl", "path": str(head.place), "bytes": num_bytes, "schema": attributes["schema"],
        "packed": head.packed,
        "episodes": len(table), "transitions": int(table.length.sum()),
        "obs_dim": int(columns["obs"].shape[1]), "action_dim": int(columns["actions"].shape[1]),
        **({"images": shapes} if shapes else {}),
        "lengths": spread(table.length), "returns": spread(table.returns),
        "terminated": terminated, "truncated": len(table) - terminated,
        "success": count(table.success == 1), "success_unknown": count(table.success < 0),
        "dropped_steps": int(counts.get("dropped_steps", 0)), "changed": counts,
        "sources": _counts(table.sources, table.source_code), "phases": _counts(list(PHASES), table.phase),
        "extras": [name.removeprefix("extras/") for name in columns if name.startswith("extras/")],
        "labels": table.extra_names,
        "action_range": _range(attributes, "action"), "obs_range": _range(attributes, "obs"),
        "action_box": _box(attributes, int(columns["actions"].shape[1])),
        "action_box_from": box_origin(attributes),
        "environment": attributes.get("environment"), "source_format": provenance.get("format"),
        "edits": edits(provenance),
        "provenance": provenance, "fingerprint": attributes["fingerprint"],
    }  # fmt: skip


def edits(provenance: dict[str, Any]) -> list[str]:
    """Return what was done to the store since it was made, a sentence each."""
    return [
        f"{one['edit']} of {one['from']['file']}: {one['kept']['episodes']} of {one['from']['episodes']} "
        "episodes"
        for one in provenance.get("edits", ())
    ]


def _box(attributes: dict[str, Any], width: int) -> list[list[float]] | None:
    """Return low and high of the box that actions were recorded in; None where nothing names it."""
    box = recorded_box(attributes, width)
    return [box.low.tolist(), box.high.tolist()] if box else None


def spread(values: np.ndarray) -> dict[str, float]:
    """Return minimum, mean and maximum."""
    return {"min": values.min().item(), "mean": values.mean().item(), "max": values.max().item()}


def count(values: np.ndarray) -> int:
    """Count what is true."""
    return int(values.sum())


def _range(attributes: dict[str, Any], name: str) -> list[float]:
    """Return the smallest and largest number of a column, from the statistics kept with it."""
    kept = attributes["statistics"]
    low, high = kept.get(f"{name}_min", np.zeros(0)), kept.get(f"{name}_max", np.zeros(0))
    return [float(low.min()), float(high.max())] if low.size else []


def _counts(names: list[str], codes: np.ndarray) -> dict[str, int]:
    """Return how many episodes have each name."""
    found = np.bincount(codes, minlength=len(names))
    return {name: int(number) for name, number in zip(names, found) if number}
