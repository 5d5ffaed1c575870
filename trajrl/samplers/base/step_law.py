"""StepLaw: a law over single steps, drawn as an episode by the mass of its steps and then one of them.

    w(e, t) = exp(x(e, t) / temperature),   p(e, t) = (1 - floor) w / sum w + floor / N,   N = sum T
    p(e)    = sum_t p(e, t),                p(t | e) = p(e, t) / p(e)

    share(p) = 1 / (N sum_(e,t) p(e, t)^2)     Kish's effective share of all windows

A subclass states x and the temperature.  With ess the temperature is raised, where it must be, to the lowest
whose share is at least that.  Steps within an episode follow p(t | e) under any law over episodes around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.samplers.base.distributions import Categorical, Law, check_share, normalised
from trajrl.samplers.base.episode_law import EpisodeLaw
from trajrl.samplers.base.exponential_law import coldest, effective_share
from trajrl.store.window import Anchors

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore


@dataclass(frozen=True)
class StepConfig:
    """How narrow a law over steps may be."""

    ess: float = 0.0  # least share of windows that draws are spread over; higher: closer to uniform
    floor: float = 0.05  # share of draws that is uniform over all steps; higher: none is left out for long

    def validate(self) -> None:
        """Refuse what is not a share."""
        check_share("ess", self.ess)
        check_share("floor", self.floor)


class StepLaw(EpisodeLaw):
    """Draws steps by the exponential of what a subclass says of them."""

    config: StepConfig

    def __init__(self, store: TrajectoryStore, config: Any, seed: int = 0) -> None:
        self.temperature, self.share = 0.0, 1.0  # of the law in force
        self._edges = np.zeros(1)  # (R + 1,) cumulative p of the steps of law.ids, episode by episode
        self._begins = np.zeros(0, np.int64)  # (n,) where in these rows each episode begins
        super().__init__(store, config, seed)

    def log_weights(self, ids: np.ndarray) -> np.ndarray:
        """Return x (R,) of every step of episodes (n,), in order."""
        raise NotImplementedError(f"{type(self).__name__} does not say its law")

    def least_temperature(self) -> float:
        """Return the temperature of the law where ess asks for no higher one."""
        raise NotImplementedError(f"{type(self).__name__} does not say its temperature")

    def make_law(self, ids: np.ndarray) -> Law:
        """Compute the law over steps, and that over live episodes (n,) which follows from it."""
        self._begins = begins(self.store, ids)
        x = self.log_weights(ids) if len(ids) else np.zeros(0)  # (R,)
        self.temperature = self._temperature(x)
        p = step_law(x, self.temperature, self.config.floor)
        self._edges = np.append(0.0, np.cumsum(p))
        if not len(ids):
            return Categorical(ids, np.zeros(0))
        self.share = effective_share(p, np.ones(len(p)))
        if self.config.ess and self.share < self.config.ess * (1 - 1e-6):
            self.note(f"an effective share of {self.config.ess} is reached at no temperature")
        return Categorical(ids, normalised(np.add.reduceat(p, self._begins), ids))

    def anchors(self, rng: np.random.Generator, n: int, law: Law) -> Anchors:
        """Draw episodes by a law, this sampler's or one around it, and the step of each by p(t | e)."""
        episode = law.draw(rng, n)
        first = self._begins[np.searchsorted(self.law.ids, episode)]  # (n,)
        low, high = self._edges[first], self._edges[first + self.store.table.length[episode]]
        u = np.minimum(low + rng.random(n) * (high - low), np.nextafter(high, low))
        row = np.searchsorted(self._edges, u, side="right") - 1
        return Anchors(episode, row - first, np.ones(n, np.float32))

    def stats(self) -> dict[str, float]:
        """Return the law's figures, the temperature, and the share of windows that draws are spread over."""
        return {**super().stats(), "temperature": self.temperature, "window_share": self.share}

    def state_dict(self) -> dict[str, Any]:
        """Return the law in force, over episodes and steps."""
        steps = {"edges": self._edges, "temperature": self.temperature, "share": self.share}
        return {**super().state_dict(), **steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the law as it was."""
        super().load_state_dict(state)
        self._edges, self._begins = np.array(state["edges"], np.float64), begins(self.store, self.law.ids)
        self.temperature, self.share = float(state["temperature"]), float(state["share"])

    def _temperature(self, x: np.ndarray) -> float:
        """Return the lowest temperature that keeps the floor under the effective share."""
        least, floor = self.least_temperature(), self.config.floor
        if not self.config.ess or not len(x):
            return least
        return max(least, coldest(lambda t: step_law(x, t, floor), np.ones(len(x)), self.config.ess))


def begins(store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
    """Return where in the steps of episodes (n,), one after the other, each begins."""
    length = store.table.length[ids]
    return np.cumsum(length) - length


def step_law(x: np.ndarray, temperature: float, floor: float) -> np.ndarray:
    """Return p (R,) of steps of log weights x (R,)."""
    if not len(x):
        return np.zeros(0)
    with np.errstate(over="ignore"):  # exp of what is below every number is 0
        w = np.exp((x - x.max()) / temperature)
    return (1 - floor) * w / w.sum() + floor / len(w)
