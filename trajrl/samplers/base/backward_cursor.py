"""Where in a drawn trajectory to start: any step, the last, or backwards step by step (arXiv 2306.15503).

uniform          t uniform over 0 .. T-1
last             t = max(0, T - n), where the last window with all its n actions and rewards starts
backward_cursor  B trajectories are walked at once, T-1, T-2, .., 0, one step per batch; a finished one is
                 replaced by a new draw.  In the long run p(e) ~ p_drawn(e) T_e.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from trajrl.samplers.base.distributions import Law

STARTS = ("backward_cursor", "last", "uniform")


class BackwardCursor:
    """The trajectories being walked and the step each is at; all of it is state."""

    def __init__(self) -> None:
        self.episode, self.step = np.zeros(0, np.int64), np.zeros(0, np.int64)  # (B,) both

    def walk(
        self, rng: np.random.Generator, n: int, law: Law, length: Callable
    ) -> tuple[np.ndarray, np.ndarray]:
        """Move n cursors a step back and return (episode, step) of each; evicted episodes are dropped.

        Args:
            length: episode ids -> their T
        """
        self._resize(n)
        step = self.step[:n] - 1
        over = (step < 0) | ~_member(self.episode[:n], law.ids)
        fresh = law.draw(rng, int(over.sum()))
        self.episode[:n][over] = fresh
        step[over] = length(fresh) - 1
        self.step[:n] = step
        return self.episode[:n].copy(), step

    def state_dict(self) -> dict[str, Any]:
        """Return both arrays."""
        return {"episode": self.episode.copy(), "step": self.step.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both arrays."""
        self.episode, self.step = np.array(state["episode"], np.int64), np.array(state["step"], np.int64)

    def _resize(self, n: int) -> None:
        """Make at least n cursors; a new one counts as finished."""
        missing = n - len(self.step)
        if missing > 0:
            self.episode = np.append(self.episode, np.full(missing, -1))
            self.step = np.append(self.step, np.zeros(missing, np.int64))


def _member(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return for ids (n,) whether they are among `known`, which is ascending."""
    place = np.minimum(np.searchsorted(known, ids), max(0, len(known) - 1))
    return known[place] == ids if len(known) else np.zeros(len(ids), bool)
