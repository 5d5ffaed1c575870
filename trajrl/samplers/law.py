"""EpisodeLaw: what most samplers share: masses over episodes, a cached cumulative sum, a step in the episode.

    p(e, t) = m(e) / sum m  *  1 / T_e      a subclass states m(e); steps are uniform unless it says otherwise

Everything is keyed by the store's stable ids.  A draw costs one binary search per anchor at any store size.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.samplers.shares import share_stats
from trajrl.store.window import Anchors

if TYPE_CHECKING:
    from trajrl.samplers.protocol import Score
    from trajrl.store.store import TrajectoryStore

Draw = Callable[[np.random.Generator, int], np.ndarray]  # how many -> episode ids

log = logging.getLogger("trajrl")


class Categorical:
    """A law over episode ids; zero masses are never drawn."""

    def __init__(self, ids: np.ndarray, masses: np.ndarray) -> None:
        if not (np.isfinite(masses).all() and (masses >= 0).all()):
            bad = int(ids[np.flatnonzero(~(np.isfinite(masses) & (masses >= 0)))[0]])
            raise ValueError(f"episode {bad} has no usable sampling mass; `store doctor` looks for NaN")
        total = masses.sum()
        if len(ids) and total <= 0:
            raise ValueError(f"none of {len(ids)} episodes has any sampling mass")
        self.ids = ids.astype(np.int64)  # (n,)
        self.p = masses / total if len(ids) else masses.astype(np.float64)  # (n,)
        self._cumulative = np.cumsum(self.p)
        self._last = int(np.flatnonzero(self.p)[-1]) if len(ids) else -1

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n ids with replacement."""
        if self._last < 0:
            raise ValueError("the store has no episode to draw from; import data or collect some first")
        u = rng.random(n) * self._cumulative[-1]
        return self.ids[np.minimum(np.searchsorted(self._cumulative, u, side="right"), self._last)]


class EpisodeLaw:
    """A sampler that draws an episode by its mass and then a step of it; subclasses say what the mass is."""

    Config: type

    def __init__(self, store: TrajectoryStore, config: Any, seed: int = 0) -> None:
        self.store, self.config, self.seed = store, config, seed
        self.notes: list[str] = []  # fallbacks taken, each logged once
        self.law = Categorical(np.zeros(0, np.int64), np.zeros(0))
        self.generation = 0  # counts rebuilds of the law; not state
        self._version = -1
        self._mark: tuple[int, ...] = ()
        self.refresh(0)

    # What a subclass says.

    def masses(self, ids: np.ndarray) -> np.ndarray:
        """Return the mass of each episode (n,), not normalised."""
        raise NotImplementedError(f"{type(self).__name__} does not say its law")

    def due(self, step: int, score: Score | None) -> bool:
        """Return whether the law must be rebuilt at this step even if the store has not changed."""
        return False

    def anchors(self, rng: np.random.Generator, n: int, draw: Draw) -> Anchors:
        """Draw episodes by `draw`, and a step of each, all steps equally likely."""
        episode = draw(rng, n)
        return Anchors(episode, rng.integers(self.store.table.length[episode]), np.ones(n, np.float32))

    # What the protocol asks.

    def sample(self, rng: np.random.Generator, n: int) -> Anchors:
        """Draw n anchors; all chance comes from `rng`."""
        return self.anchors(rng, n, self.draw)

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n episodes by the law."""
        return self.law.draw(rng, n)

    def feedback(self, anchors: Anchors, td_error: np.ndarray) -> None:
        """Take in TD errors; this law does not use them."""

    def refresh(self, step: int, score: Score | None = None) -> None:
        """Take in what was appended or evicted, and rebuild the law if that or the schedule asks for it."""
        if self.store_changed() or self.due(step, score):
            self.rebuild()

    def rebuild(self) -> None:
        """Compute the law anew from the store and the sampler's state."""
        ids = self.store.live
        self.law = Categorical(ids, self.masses(ids) if len(ids) else np.zeros(0))
        self.generation += 1

    def probabilities(self) -> np.ndarray:
        """Return p over episodes (E,), 0 for evicted ones."""
        p = np.zeros(len(self.store))
        p[self.law.ids] = self.law.p
        return p

    def stats(self) -> dict[str, float]:
        """Return the law's size, entropy, KL to uniform and effective number of episodes."""
        counts = {"episodes": float(len(self.law.ids)), "notes": float(len(self.notes))}
        return {**counts, **share_stats(self.law.p)}

    def state_dict(self) -> dict[str, Any]:
        """Return the law in force and what it was built on."""
        return {"ids": self.law.ids, "p": self.law.p, "mark": list(self._mark), "notes": list(self.notes)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the law back as it was, not as the store would give it now."""
        self._mark, self._version = tuple(int(part) for part in state["mark"]), -1
        self.notes = [str(note) for note in state["notes"]]
        self.law = Categorical(np.asarray(state["ids"]), np.asarray(state["p"], np.float64))
        self.generation += 1

    # Shared by subclasses.

    def store_changed(self) -> bool:
        """Return whether the live episodes differ from those last seen, and remember them."""
        if self.store.version == self._version:
            return False
        self._version = self.store.version
        live = self.store.live
        mark = (len(live), int(live.sum()), int(self.store.table.length[live].sum()))
        changed, self._mark = mark != self._mark, mark
        return changed

    def note(self, text: str) -> None:
        """Log a fallback once, and keep it for the run's record."""
        if text not in self.notes:
            self.notes.append(text)
            log.warning("%s", text)


def with_floor(p: np.ndarray, floor: float) -> np.ndarray:
    """Return (1 - floor) p + floor / n, p normalised first."""
    return (1 - floor) * p / p.sum() + floor / len(p)


def check_share(name: str, value: float) -> None:
    """Refuse an option that is not a share."""
    if not 0 <= value <= 1:
        raise ValueError(f"the sampler option '{name}' is a share between 0 and 1; got {value}")
