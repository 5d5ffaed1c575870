"""Ledger: the table of episodes that trajrl leaves in files it exports, so that reading back is exact.

    length (E,)   terminated (E,)   success (E,) 1, 0 or -1   source (E,) bytes

Other tools pass it over.  It is used only while it fits the rows beside it: an edited file is read as found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from trajrl.store.action_box import SCALED, is_scaled
from trajrl.store.store import TrajectoryStore


class Ledger(NamedTuple):
    """One row for each episode, in order."""

    length: np.ndarray  # (E,) int64
    terminated: np.ndarray  # (E,) bool
    success: np.ndarray  # (E,) int8
    source: list[str]

    def success_of(self, e: int) -> bool | None:
        """Return what the data says about success in episode `e`."""
        return None if self.success[e] < 0 else bool(self.success[e])


def ledger_of(store: TrajectoryStore) -> dict[str, np.ndarray]:
    """Return the columns to write for the episodes that are alive."""
    table, live = store.table, store.live
    names = [name.encode() for name in table.source[live]]
    return {
        "length": table.length[live], "terminated": table.terminated[live],
        "success": table.success[live], "source": np.array(names or [b""], "S"),
    }  # fmt: skip


def attributes_of(store: TrajectoryStore) -> str:
    """Return what is known of all episodes as JSON: environment, action box, units."""
    kept = store.attributes
    names = ("environment", "action_low", "action_high", "action_box_from", "units")
    scaled = {SCALED: True} if is_scaled(kept) else {}
    return json.dumps({name: kept[name] for name in names if name in kept} | scaled)


def read_ledger(columns: Mapping[str, np.ndarray]) -> Ledger | None:
    """Return the ledger found in a file; None where there is none or a part of it is missing."""
    if not {"length", "terminated", "success", "source"} <= set(columns):
        return None
    length = np.asarray(columns["length"], np.int64).ravel()
    parts = [np.asarray(columns[name]).ravel() for name in ("terminated", "success", "source")]
    if any(len(part) != len(length) for part in parts) or (length < 1).any():
        return None
    names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in parts[2]]
    return Ledger(length, parts[0].astype(bool), parts[1].astype(np.int8), names)
