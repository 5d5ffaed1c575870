"""EpisodeLaw, what most samplers share: a law over episodes, rebuilt when the store changes, and a step.

    p(e, t) = m(e) / sum m  *  1 / T_e      a subclass states m(e); steps are uniform unless it says otherwise

Everything is keyed by the store's stable ids.  The law in force is state: between two refreshes the store
may grow without any effect on what is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.source_place import method_place
from trajrl.samplers.base.distributions import Categorical, Law, described, normalised, share_stats
from trajrl.samplers.base.store_view import StoreWatch, note_once
from trajrl.store.window import Anchors

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Score
    from trajrl.store.store import TrajectoryStore


class EpisodeLaw:
    """Draws an episode by its mass and then a step of it; subclasses say what the mass is."""

    config_type: type
    notes: list[str]
    reads_td_errors = False

    def __init__(self, store: TrajectoryStore, config: Any, seed: int = 0) -> None:
        self.store, self.config, self.seed = store, config, seed
        self.notes = []  # fallbacks taken, each logged once
        self.law: Law = Categorical(np.zeros(0, np.int64), np.zeros(0))
        self.watch = StoreWatch()
        self.refresh(0)

    def __repr__(self) -> str:
        """Return it in one line."""
        return described(self)

    def masses(self, ids: np.ndarray) -> np.ndarray:
        """Return the mass of each episode (n,), not normalised."""
        raise NotImplementedError(f"{type(self).__name__} does not say its law")

    def make_law(self, ids: np.ndarray) -> Law:
        """Compute the law over live episodes (n,) from the store and the sampler's state."""
        if not len(ids):
            return Categorical(ids, np.zeros(0))
        return Categorical(ids, normalised(self.masses(ids), ids, method_place(type(self), "masses")))

    def anchors(self, rng: np.random.Generator, n: int, law: Law) -> Anchors:
        """Draw episodes by a law, this sampler's or that of one around it, and a uniform step of each."""
        episode = law.draw(rng, n)
        return Anchors(episode, rng.integers(self.store.table.length[episode]), np.ones(n, np.float32))

    def sample(self, rng: np.random.Generator, n: int) -> Anchors:
        """Draw n anchors; all randomness comes from `rng`."""
        return self.anchors(rng, n, self.law)

    def feedback(self, anchors: Anchors, td_error: np.ndarray) -> None:
        """Take in TD errors; this law does not use them."""

    def refresh(self, step: int, score: Score | None = None) -> None:
        """Take in what was appended or evicted, and rebuild the law if anything was."""
        if self.watch.changed(self.store):
            self.law = self.make_law(self.store.live)

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
        law = {"ids": self.law.ids, "p": self.law.p}
        return {**law, "mark": list(self.watch.mark), "notes": list(self.notes)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the law as it was, not as the store would give it now."""
        self.watch.restore(state["mark"])
        self.notes = [str(note) for note in state["notes"]]
        self.law = Categorical(state["ids"], state["p"])

    def note(self, text: str) -> None:
        """Log a fallback once, and keep it for the run's record."""
        note_once(self.notes, text)
