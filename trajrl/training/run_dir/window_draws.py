"""WindowDraws: how often each window of a store was drawn, counted by the action row of its anchor.

Kept where there are images alone, four bytes a step: a report then shows what was looked at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import Anchors


class WindowDraws:
    """Counts draws by action row; a store that grows adds rows at the end."""

    def __init__(self, store: TrajectoryStore) -> None:
        self.store = store
        self._counts = np.zeros(0, np.uint32)  # (S,) of the rows up to the last that was drawn or restored

    def record(self, anchors: Anchors) -> None:
        """Take in one batch."""
        self._counts = self.counts()
        np.add.at(self._counts, self.store.table.start[anchors.episode] + anchors.step, 1)

    def counts(self) -> np.ndarray:
        """Return how often the window at each action row (S,) was drawn."""
        return padded(self._counts, len(self.store.actions))

    def load_counts(self, counts: np.ndarray) -> None:
        """Restore every count."""
        self._counts = np.array(counts, np.uint32)


def padded(counts: np.ndarray, rows: int) -> np.ndarray:
    """Return counts of all rows of a store; those it got since were never drawn."""
    return counts if len(counts) == rows else np.pad(counts, (0, rows - len(counts)))
