"""StoreWatch tells whether a store's live episodes changed; `note_once` says what a sampler fell back to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.store.table import PHASES

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

log = logging.getLogger("trajrl")


class StoreWatch:
    """Notes whether a store's live episodes or their rewards differ from those last seen; the mark is state.

    Ids only ever grow and an evicted one never returns, so (count, sum of ids, sum of lengths) tells sets
    apart.
    """

    def __init__(self) -> None:
        self.mark: tuple[int, ...] = ()
        self._version = self._relabelled = -1

    def changed(self, store: TrajectoryStore) -> bool:
        """Compare with the store as it is now, and remember that."""
        if store.version == self._version:
            return False
        self._version = store.version
        live = store.live
        mark = (len(live), int(live.sum()), int(store.table.length[live].sum()))
        relabelled = self._relabelled not in (-1, store.relabelled)
        changed, self.mark, self._relabelled = relabelled or mark != self.mark, mark, store.relabelled
        return changed

    def restore(self, mark: Any) -> None:
        """Restore a mark from a sampler's state."""
        self.mark, self._version = tuple(int(part) for part in mark), -1
        self._relabelled = -1


def note_once(notes: list[str], text: str) -> None:
    """Log a fallback the first time it is taken, and keep it for the run's record."""
    if text not in notes:
        notes.append(text)
        log.warning("%s", text)


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
