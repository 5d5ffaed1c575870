"""Product: balanced across the clusters of the left sampler, by the law of the right one within each.

    p(e) = (1 - f) s_c q_e / q(cluster c of e) + f q_e,    q = the law of `right`, f = the floor of `left`

s_c is the share of cluster c in `left`, 1 / C unless it pulls; clusters without mass in `right` are left out.
Steps, TD errors and importance weights are those of `right`.  Command line: --sampler cluster*priority.

Paper: none; cluster and priority together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.samplers.base.distributions import Categorical, Law, described, share_stats
from trajrl.samplers.base.episode_law import EpisodeLaw
from trajrl.samplers.cluster import ClusterSampler

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Sampler, Score
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import Anchors


@dataclass(frozen=True)
class Config:
    """Which two samplers are joined."""

    left: str = "cluster"  # what groups the trajectories
    right: str = "priority"  # what weighs them within a group

    def validate(self) -> None:
        """Accept: the names are checked when the parts are made."""


class ProductSampler:
    """Equal numbers from each group of `left`, by `right` within."""

    config_type = Config
    PARTS = ("left", "right")

    def __init__(self, store: TrajectoryStore, config: Config, parts: dict[str, Sampler]) -> None:
        left, right = parts["left"], parts["right"]
        if not isinstance(left, ClusterSampler):
            raise ValueError(
                f"the left of a product groups trajectories, as 'cluster' does; '{config.left}' does not"
            )
        if not isinstance(right, EpisodeLaw):
            raise ValueError(f"the right of a product has a law over episodes; '{config.right}' has not")
        self.store, self.config, self.left, self.right = store, config, left, right
        self.law: Law = Categorical(np.zeros(0, np.int64), np.zeros(0))
        self._made_of: tuple[Law, Law] | None = None
        self._join()

    def __repr__(self) -> str:
        """Return it in one line."""
        return described(self)

    @staticmethod
    def view(store: TrajectoryStore, part: str) -> TrajectoryStore:
        """Return the store a part works on: all of it."""
        return store

    @property
    def labels(self) -> np.ndarray:
        """Return the cluster (E,) of every episode."""
        return self.left.labels

    @property
    def notes(self) -> list[str]:
        """Return the fallbacks that the parts took."""
        return [*self.left.notes, *self.right.notes]

    @property
    def reads_td_errors(self) -> bool:
        """Say whether a part learns from TD errors."""
        return self.left.reads_td_errors or self.right.reads_td_errors

    def sample(self, rng: np.random.Generator, n: int) -> Anchors:
        """Draw n anchors, balanced across groups."""
        return self.right.anchors(rng, n, self.law)

    def feedback(self, anchors: Anchors, td_error: np.ndarray) -> None:
        """Hand the TD errors on to both parts."""
        self.left.feedback(anchors, td_error)
        self.right.feedback(anchors, td_error)

    def refresh(self, step: int, score: Score | None = None) -> None:
        """Refresh both parts, and join their laws anew if one of them changed."""
        self.left.refresh(step, score)
        self.right.refresh(step, score)
        self._join()

    def probabilities(self) -> np.ndarray:
        """Return p over episodes (E,), 0 for evicted ones."""
        p = np.zeros(len(self.store))
        p[self.law.ids] = self.law.p
        return p

    def stats(self) -> dict[str, float]:
        """Return the figures of the joint law, and those of the parts under their names."""
        stats = {"episodes": float(len(self.law.ids)), **share_stats(self.law.p)}
        for part, sampler in (("left", self.left), ("right", self.right)):
            stats.update({f"{part}/{name}": value for name, value in sampler.stats().items()})
        return stats

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the parts; the joint law follows from them."""
        return {"left": self.left.state_dict(), "right": self.right.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the parts and join them."""
        self.left.load_state_dict(state["left"])
        self.right.load_state_dict(state["right"])
        self._join()

    def _join(self) -> None:
        """Make the joint law of the laws now in force."""
        if (
            self._made_of is not None
            and self._made_of[0] is self.left.law
            and self._made_of[1] is self.right.law
        ):
            return
        q = self.right.law
        if len(q.ids):
            self.law = self.left.balance(q.ids, q.p)
        self._made_of = self.left.law, self.right.law
