"""PhaseView: a store of which a sampler sees one phase only; ids stay those of the whole store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.store.table import PHASES

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore


class PhaseView:
    """Everything of the store, but only the live episodes of one phase."""

    def __init__(self, store: TrajectoryStore, phase: str) -> None:
        self._store, self._code = store, PHASES.index(phase)

    @property
    def live(self) -> np.ndarray:
        """Return the ids of the phase's episodes that are alive, in order."""
        table = self._store.table
        return np.flatnonzero(table.alive & (table.phase == self._code))

    @property
    def num_steps(self) -> int:
        """Return the number of actions in them."""
        return int(self._store.table.length[self.live].sum())

    def __len__(self) -> int:
        """Return how many episodes the whole store ever had: ids run below this."""
        return len(self._store)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
