"""Hindsight: a goal for every anchor, drawn by a store's law of goals (store/goals.py).

A goal ahead is of the anchor's own episode, one of any episode is a step that was acted in, each alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trajrl.store.goals import Goals

if TYPE_CHECKING:
    from trajrl.store.goals import GoalLaw
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import Anchors


def draw_goals(
    store: TrajectoryStore, anchors: Anchors, role: str, rng: np.random.Generator, law: GoalLaw | None = None
) -> Goals:
    """Draw a goal for every anchor, by the store's own law unless another is given."""
    law = law or store.goals
    assert law is not None
    here, ahead, mean = law.of(role)
    count = len(anchors.episode)
    length = store.table.length[anchors.episode]
    later = _ahead(anchors.step, length, mean, rng)
    row = rng.integers(store.num_steps, size=count)  # of all live steps
    kind = rng.random(count)
    total = np.cumsum(store.table.length[store.live])
    which = np.searchsorted(total, row, side="right")
    other = store.live[which], row - (total - store.table.length[store.live])[which]
    episode = np.where(kind < here + ahead, anchors.episode, other[0])
    step = np.where(kind < here, anchors.step, np.where(kind < here + ahead, later, other[1]))
    return Goals(episode, step)


def _ahead(step: np.ndarray, length: np.ndarray, mean: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a step (B,) after each anchor's, up to T."""
    if not mean:
        return rng.integers(step + 1, length + 1)
    return np.minimum(step + rng.geometric(1 / mean, len(step)), length)
