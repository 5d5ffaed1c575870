"""On-policy: episodes by how near they are to the present policy, as a classifier tells the newest from all.

    p(e, t) ~ exp(x_e / temperature) T_e^(exponent - 1),   x_e = minmax(mean_t f(o_t, a_t))
    f       = the logit of newest against all: near log d_newest(o, a) / d_all(o, a)

newest are the last online episodes that hold the share `recent` of all online steps: the present policy, or
one of a moment ago, made them.  The mean is over `score_steps` steps spread over the episode; its exponential
is the geometric mean of the ratios.  f is fitted anew every `refit_every` training steps, and a new episode
judged by the f in force.  Then no episode above max_share, then p = (1 - floor) p + floor / n.  With ess, the
temperature is the lowest whose draws are spread over that share of the windows.

Without an online episode x is 0.  Offline episodes take part where both are drawn from one pool
(--offline-mode keep); in a mixture the sampler of the online side sees that side alone.

Paper: Lee et al. 2021 (balanced replay, arXiv 2107.00591); Song et al. 2025 (arXiv 2512.10510).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.rng import stream
from trajrl.samplers.base.distributions import check_share
from trajrl.samplers.base.drawn_steps import drawn_steps
from trajrl.samplers.base.exponential_law import ExponentialConfig
from trajrl.samplers.base.exponential_sampler import ExponentialSampler
from trajrl.samplers.base.logistic import drawn_weights, fit_logit, hidden
from trajrl.samplers.base.returns import all_finite
from trajrl.store.features import Scaler
from trajrl.store.table import phase_code

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Score
    from trajrl.store.store import TrajectoryStore

WIDEST = 64  # numbers of observation and action that are compared; wider ones are projected


@dataclass(frozen=True)
class Config(ExponentialConfig):
    """Which episodes stand for the present policy, and how strongly nearness counts."""

    temperature: float = 0.3  # nearness runs from 0, the farthest episode, to 1; higher: closer to uniform
    floor: float = 0.1  # share of draws that is uniform over all episodes; higher: more of the far is seen
    recent: float = 0.2  # share of the online steps that is taken for the present policy's; higher: later
    refit_every: int = 2_000  # training steps between two fits; higher: cheaper, staler
    fit_rows: int = 10_000  # steps of either side that f is fitted to; higher: finer, slower
    score_steps: int = 32  # steps of an episode that are judged; higher: finer, slower
    width: int = 64  # of the hidden layer; higher: finer, slower, more prone to learn single episodes
    ridge: float = 0.01  # of the layer that is learned; higher: f is flatter

    def validate(self) -> None:
        """Refuse numbers out of range."""
        super().validate()
        check_share("recent", self.recent)
        if not self.ridge > 0:
            raise ValueError(f"the sampler option 'ridge' is above 0; got {self.ridge}")
        for name in ("refit_every", "fit_rows", "score_steps", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"the sampler option '{name}' is at least 1; got {getattr(self, name)}")


class OnPolicySampler(ExponentialSampler):
    """Episodes by their nearness to the newest online ones, steps uniform."""

    config: Config
    config_type = Config

    def __init__(self, store: TrajectoryStore, config: Config, seed: int = 0) -> None:
        self.scaler = Scaler(np.zeros(0), np.ones(0), np.zeros((0, 0)))
        self.beta = np.zeros(0)  # of f; empty: there was no online episode yet
        self.layer = np.zeros((0, 0))  # its hidden layer
        self.nearness = np.zeros(0)  # (E,) mean f; NaN where not judged yet
        self._fitted_at = self._fits = 0
        super().__init__(store, config, seed)

    def refresh(self, step: int, score: Score | None = None) -> None:
        """Fit f anew when due and there is something new; judge new episodes by it."""
        if self.watch.changed(self.store):
            ids = self.store.live
            first = not len(self.beta)
            if first or step - self._fitted_at >= self.config.refit_every:
                self._fit(ids, step)
            self.law = self.make_law(ids)

    def newest(self, ids: np.ndarray) -> np.ndarray:
        """Return those of live episodes (n,) that stand for the present policy."""
        online = ids[self.store.table.phase[ids] == phase_code("online")]
        length = self.store.table.length[online]
        later = np.cumsum(length[::-1])[::-1] - length  # steps of later ones
        return online[later < self.config.recent * length.sum()] if self.config.recent else online[-1:]

    def worth(self, ids: np.ndarray) -> np.ndarray:
        """Return the mean of f over each episode."""
        if not len(self.beta):
            self.note("onpolicy: there is no online episode yet; the law is uniform over steps")
            return np.zeros(len(ids))
        missing = len(self.store) - len(self.nearness)
        self.nearness = np.append(self.nearness, np.full(max(0, missing), np.nan))
        new = ids[np.isnan(self.nearness[ids])]
        if len(new):
            count = self.config.score_steps
            step = np.linspace(0, self.store.table.length[new] - 1, count, axis=1).astype(np.int64)
            f = self._hidden(np.repeat(new, count), step.ravel()) @ self.beta
            self.nearness[new] = f.reshape(len(new), count).mean(1)
        return self.nearness[ids]

    def stats(self) -> dict[str, float]:
        """Return the law's figures, and the share of draws that goes to offline episodes."""
        online = self.store.table.phase[self.law.ids] == phase_code("online")
        return {**super().stats(), "fits": float(self._fits), "online_share": float(self.law.p[online].sum())}

    def state_dict(self) -> dict[str, Any]:
        """Return f, what it said of episodes, and the schedule."""
        scaler = {f"scaler_{name}": values for name, values in self.scaler.state().items()}
        known = {"beta": self.beta, "layer": self.layer, "nearness": self.nearness.copy()}
        return {**super().state_dict(), **scaler, **known, "fits": [self._fitted_at, self._fits]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore everything."""
        super().load_state_dict(state)
        self.scaler = Scaler(*(np.array(state[f"scaler_{name}"]) for name in ("mean", "divisor", "axes")))
        self.beta, self.layer = np.array(state["beta"]), np.array(state["layer"])
        self.nearness = np.array(state["nearness"])
        self._fitted_at, self._fits = (int(part) for part in state["fits"])

    def _fit(self, ids: np.ndarray, step: int) -> None:
        """Fit f to tell the newest episodes from all; what was judged before is judged anew."""
        newest = self.newest(ids)
        if not len(newest):
            return
        self.store.require_vectors("the sampler 'onpolicy'")
        self._fitted_at, self._fits, self.nearness = step, self._fits + 1, np.zeros(0)
        rng = stream(self.seed, "onpolicy", self._fits)
        most = self.config.fit_rows
        everything, positive = (drawn_steps(self.store, some, most, rng) for some in (ids, newest))
        rows = self._rows(*everything)
        all_finite(rows.sum(1), everything[0], "step")
        wide = WIDEST if rows.shape[1] > WIDEST else 0
        self.scaler = Scaler.fit(rows, [1] * rows.shape[1], block_scale=False, components=wide)
        inputs = wide or rows.shape[1]
        self.layer = drawn_weights(stream(self.seed, "onpolicy", 0), inputs, self.config.width)
        self.beta = fit_logit(self._hidden(*positive), self._hidden(*everything), self.config.ridge)

    def _rows(self, episode: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return observations beside actions (m, obs + act)."""
        row = self.store.table.start[episode] + step
        return np.concatenate([self.store.obs.rows(row + episode), self.store.actions.rows(row)], axis=1)

    def _hidden(self, episode: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return the hidden layer (m, f) of steps."""
        return hidden(np.clip(self.scaler(self._rows(episode, step)), -5, 5).astype(np.float64), self.layer)
