"""Narrowed: uniform over steps for the first share of a run, then by another sampler.

    p(e, t) = (1 - w) / sum T + w p_law(e, t)
    w = 0 for the first at * updates, then rising to 1 over ramp * updates; at once where ramp is 0

In every batch round(w n) rows are the law's and stand first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trajrl.samplers.base.distributions import described, share_stats
from trajrl.samplers.uniform import Config as UniformConfig
from trajrl.samplers.uniform import UniformSampler
from trajrl.store.window import Anchors

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Sampler, Score
    from trajrl.store.store import TrajectoryStore


class Schedule(NamedTuple):
    """When a law takes over: shares of `updates`, which are counted from `first` on."""

    at: float
    ramp: float
    updates: int
    first: int = 0

    def weight(self, step: int) -> float:
        """Return w at an update, the first of which is 1."""
        past = step - self.first - self.at * self.updates
        if past <= 0:
            return 0.0
        return min(1.0, past / (self.ramp * self.updates)) if self.ramp else 1.0


class NarrowedSampler:
    """A sampler behind a schedule."""

    def __init__(self, store: TrajectoryStore, law: Sampler, schedule: Schedule) -> None:
        self.store, self.law, self.schedule = store, law, schedule
        self.config = schedule
        self.uniform = UniformSampler(store, UniformConfig())
        self.step = 0

    def __repr__(self) -> str:
        """Return it in one line."""
        return described(self)

    @property
    def weight(self) -> float:
        """Return w, the share of rows that the law draws now."""
        return self.schedule.weight(self.step)

    @property
    def notes(self) -> list[str]:
        """Return the fallbacks that the law took."""
        return self.law.notes

    @property
    def reads_td_errors(self) -> bool:
        """Say whether the law learns from TD errors."""
        return self.law.reads_td_errors

    @property
    def labels(self) -> np.ndarray:
        """Return the cluster (E,) of every episode; a law without clusters has no such attribute."""
        law: Any = self.law
        return law.labels

    def sample(self, rng: np.random.Generator, n: int) -> Anchors:
        """Draw n anchors: the law's first."""
        by_law = round(self.weight * n)
        parts = [(self.law, by_law), (self.uniform, n - by_law)]
        drawn = [sampler.sample(rng, count) for sampler, count in parts if count]
        return drawn[0] if len(drawn) == 1 else Anchors(*(np.concatenate(column) for column in zip(*drawn)))

    def feedback(self, anchors: Anchors, td_error: np.ndarray) -> None:
        """Hand TD errors to the law."""
        self.law.feedback(anchors, td_error)

    def refresh(self, step: int, score: Score | None = None) -> None:
        """Refresh both, and note the update that the schedule stands at."""
        self.step = step
        self.law.refresh(step, score)
        self.uniform.refresh(step)

    def probabilities(self) -> np.ndarray:
        """Return p over episodes (E,), 0 for evicted ones."""
        w = self.weight
        return w * self.law.probabilities() + (1 - w) * self.uniform.probabilities()

    def stats(self) -> dict[str, float]:
        """Return w, and the law's figures with those of what is drawn in the place of its own."""
        drawn = share_stats(self.probabilities()[self.store.live])
        return {**self.law.stats(), **drawn, "narrowed": self.weight}

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both and where the schedule stands."""
        return {"law": self.law.state_dict(), "uniform": self.uniform.state_dict(), "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both."""
        self.law.load_state_dict(state["law"])
        self.uniform.load_state_dict(state["uniform"])
        self.step = int(state["step"])
