"""Steps of some episodes, each equally likely and none twice: for a fit where all steps are too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore


def drawn_steps(
    store: TrajectoryStore, ids: np.ndarray, most: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return episode and step (m,) of at most `most` steps of episodes (n,), in order; all of fewer."""
    length = store.table.length[ids]
    total = np.cumsum(length)
    chosen = np.arange(total[-1])
    if len(chosen) > most:
        chosen = np.sort(rng.choice(total[-1], most, replace=False))
    which = np.searchsorted(total, chosen, side="right")
    return ids[which], chosen - (total - length)[which]
