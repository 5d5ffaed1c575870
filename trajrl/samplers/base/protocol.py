"""Sampler: what decides which (episode, step) pairs are trained on.  It knows nothing of windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from trajrl.store.window import Anchors

# anchors (n,) -> the agent's Q of the actions taken there, (n,) or one per critic of an ensemble (n, E).
# A ranking calls it once, with all rows it asks about: tens of thousands, to be split where memory is short.
Score = Callable[[Anchors], np.ndarray]


class Sampler(Protocol):
    """Draws anchors from a store by a law p(e, t) stated in its module's docstring."""

    @property
    def notes(self) -> list[str]:
        """Return the fallbacks taken so far, in words; each was logged once."""

    @property
    def reads_td_errors(self) -> bool:
        """Say whether `feedback` changes what is drawn."""

    def sample(self, rng: np.random.Generator, n: int) -> Anchors:
        """Draw n anchors; all randomness comes from `rng`."""

    def feedback(self, anchors: Anchors, td_error: np.ndarray) -> None:
        """Take in the absolute TD error (n,) of anchors drawn before; NaN where the critic left a row out."""

    def refresh(self, step: int, score: Score | None = None) -> None:
        """Take in episodes appended or evicted since, and re-rank when due at this training step."""

    def probabilities(self) -> np.ndarray:
        """Return p over episodes (E,), 0 for evicted ones; sums to 1."""

    def stats(self) -> dict[str, float]:
        """Return what is worth logging, by short name."""

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state as numpy arrays and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state; the next anchors are those that would have come."""
