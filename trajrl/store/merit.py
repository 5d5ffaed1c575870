"""Merit: how good an episode is, by what lies ahead of each of its steps.

    merit(e) = 1/T_e sum_t sum_{j >= t} gamma^(j - t) r_j = 1/T_e sum_j r_j (1 - gamma^(j + 1)) / (1 - gamma)

The return rewards length as much as it does skill, a mean reward forgets what an early end has cost; this
lies between.  Rewards are those of the store, not as training shapes them: a shift of each of them would rank
episodes by their length.  Where goals are relabelled no episode is better than another: all merits are 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trajrl.store.features import step_rows

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

GAMMA = 0.99  # of most tasks; episodes are told apart alike by .95 and .995


def merits(store: TrajectoryStore, gamma: float = GAMMA) -> np.ndarray:
    """Return the merit of every episode (E,), of evicted ones too; once, and again for what is appended."""
    if store.goals:
        return np.zeros(len(store))
    known: np.ndarray = store.derived.get((merits, gamma), np.zeros(0))
    if len(known) < len(store):
        ids = np.arange(len(known), len(store))
        known = np.append(known, merit_of(store, ids, gamma))
        store.derived[merits, gamma] = known
    return known


def merit_of(store: TrajectoryStore, ids: np.ndarray, gamma: float) -> np.ndarray:
    """Return the merit of episodes (n,)."""
    found = np.empty(len(ids))
    for part, rows, begins in step_rows(store, ids):
        length = store.table.length[ids[part]]
        step = np.arange(len(rows)) - np.repeat(begins, length)  # (m,)
        seen_from = (1 - gamma ** (step + 1.0)) / (1 - gamma) if gamma < 1 else step + 1.0
        found[part] = np.add.reduceat(store.rewards.rows(rows) * seen_from, begins) / length
    return found
