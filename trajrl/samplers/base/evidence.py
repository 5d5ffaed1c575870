"""Evidence about trajectories by stable id: whether there is any, and a moving average of it.

    value <- first evidence,  then (1 - rate) value + rate * evidence

A trajectory without evidence counts as the largest value known: it is tied with the current maximum.  One
that was drawn and of which no row was used counts as the median: it may have none that ever is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.store.window import Anchors

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Score


class Evidence:
    """Grows with the store; eviction needs nothing, since an id is never used twice."""

    def __init__(self) -> None:
        self.value, self.seen = np.zeros(0), np.zeros(0, bool)  # (E,) both
        self.unused = np.zeros(0, bool)  # (E,) drawn, and never seen
        self.set_at = np.zeros(0)  # (E,) training step of the last evidence; NaN: none yet, or not known

    def grow(self, size: int) -> None:
        """Make room for ids below `size`."""
        missing = size - len(self.value)
        if missing > 0:
            self.value = np.append(self.value, np.zeros(missing))
            self.seen = np.append(self.seen, np.zeros(missing, bool))
            self.unused = np.append(self.unused, np.zeros(missing, bool))
            self.set_at = np.append(self.set_at, np.full(missing, np.nan))

    def average(self, ids: np.ndarray, evidence: np.ndarray, rate: float, step: int) -> None:
        """Take one step of the moving average for distinct ids (m,), at a training step."""
        old = self.value[ids]
        self.value[ids] = np.where(self.seen[ids], (1 - rate) * old + rate * evidence, evidence)
        self.seen[ids], self.set_at[ids] = True, step

    def put(self, ids: np.ndarray, evidence: np.ndarray, step: int) -> None:
        """Replace what is known of distinct ids (m,), at a training step."""
        self.value[ids], self.seen[ids], self.set_at[ids] = evidence, True, step

    def staleness(self, ids: np.ndarray, step: int) -> np.ndarray:
        """Return how many training steps ago each of those ids that has evidence got the last of it (m,)."""
        ages = step - self.set_at[ids]
        return ages[~np.isnan(ages)]

    def note_drawn(self, ids: np.ndarray) -> None:
        """Take in that ids (m,) were drawn, after what they gave."""
        self.unused[ids] = ~self.seen[ids]

    def scores(self, ids: np.ndarray, sign: float = 1.0) -> np.ndarray:
        """Return sign * value (n,) of each id; the maximum of these where there is none, or the median."""
        value, seen, unused = sign * self.value[ids], self.seen[ids], self.unused[ids]
        if not seen.any():
            return np.zeros(len(ids))
        return np.where(seen, value, np.where(unused & ~seen, np.median(value[seen]), value[seen].max()))

    def state_dict(self) -> dict[str, Any]:
        """Return the arrays."""
        names = ("value", "seen", "unused", "set_at")
        return {name: getattr(self, name).copy() for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the arrays; older states do not say what was drawn without use, nor when evidence came."""
        self.value, self.seen = np.array(state["value"], np.float64), np.array(state["seen"], bool)
        self.unused = np.array(state.get("unused", np.zeros(len(self.seen))), bool)
        self.set_at = np.array(state.get("set_at", np.full(len(self.seen), np.nan)), np.float64)


def per_episode(episode: np.ndarray, evidence: np.ndarray, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    """Reduce evidence of rows (m,) to distinct ids, and the mean or largest of each; NaN is no evidence."""
    known = ~np.isnan(evidence)
    episode, evidence = episode[known], evidence[known]
    ids, owner = np.unique(episode, return_inverse=True)
    if largest:
        top = np.full(len(ids), -np.inf)
        np.maximum.at(top, owner, evidence)
        return ids, top
    return ids, np.bincount(owner, evidence) / np.bincount(owner)


def ask(score: Score, episode: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the agent's values (n, E) of the data's actions at (episode, step), E = 1 for a single value."""
    if not len(episode):
        return np.zeros((0, 1))
    values = np.asarray(score(Anchors(episode, step, np.ones(len(episode), np.float32))), np.float64)
    if len(values) != len(episode):
        raise ValueError(
            f"a score gives one row of values per anchor; {len(episode)} anchors gave {values.shape}"
        )
    return values.reshape(len(values), -1)
