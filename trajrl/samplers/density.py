"""Density: steps by how much more a better policy would visit them, learned with a bound on the divergence.

    p(e, t) = (1 - floor) w / sum w + floor / N,   w(e, t) = exp(delta(e, t) / temperature),   N = sum T
    delta   = r_t + V(o_{t+1}) - V(o_t),   V(o) = theta . (z, z^2 - 1),   z = o standardised, within 5

theta and eta, the least temperature, are the minimum of a convex dual (`flow_ratio`): of all weights of steps

    max  sum p r    with  KL(p || uniform) <= kl   and   sum p (phi(o_{t+1}) - phi(o_t)) = 0

The second condition says that p visits states as some policy would: no state is left more often than it is
reached.  Behind the last step of an episode comes a new start, the mean of phi(o_0); so r counts per step and
an end costs what the way back costs.  With ess, the temperature is raised to the lowest whose draws are
spread over that share of windows, 1 / (N sum p^2) >= ess: a bound on KL alone lets few steps weigh most.
New episodes are weighed by the V in force until the next fit.

Paper: Hong et al. 2023 (density-ratio weighting, arXiv 2310.04413); Peters et al. 2010 (the dual).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.rng import stream
from trajrl.samplers.base.drawn_steps import drawn_steps
from trajrl.samplers.base.flow_ratio import Dual, fit_ratio
from trajrl.samplers.base.returns import all_finite, first_observations
from trajrl.samplers.base.step_law import StepConfig, StepLaw, begins
from trajrl.store.features import Scaler, step_rows

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Score
    from trajrl.store.store import TrajectoryStore

WIDEST = 64  # numbers of a state that V is fitted to; wider ones are projected to as many components
LIMIT = 5.0  # standard deviations beyond which a state is taken for one at it
ALIKE = 1e-9  # spread of rewards, in their own size, below which all are the same


@dataclass(frozen=True)
class Config(StepConfig):
    """How far the weights may lie from uniform, and how V is fitted."""

    ess: float = 0.3  # least share of windows that draws are spread over, whatever kl allows; higher: wider
    kl: float = 0.7  # bound on KL(p || uniform) in nats; higher: narrower.  0.7: about half of the windows
    ridge: float = 0.001  # of V; higher: flatter, the weights follow rewards alone
    fit_rows: int = 50_000  # steps that V is fitted to, drawn by the seed; higher: finer, slower
    refit_every: int = 10_000  # training steps between two fits while episodes come; higher: cheaper, staler

    def validate(self) -> None:
        """Refuse numbers out of range."""
        super().validate()
        for name in ("kl", "ridge"):
            if not getattr(self, name) > 0:
                raise ValueError(f"the sampler option '{name}' is above 0; got {getattr(self, name)}")
        for name in ("fit_rows", "refit_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"the sampler option '{name}' is at least 1; got {getattr(self, name)}")


class DensitySampler(StepLaw):
    """Steps by their density under a better policy, as a ratio to that of the data."""

    config: Config
    config_type = Config

    def __init__(self, store: TrajectoryStore, config: Config, seed: int = 0) -> None:
        self.theta, self.eta = np.zeros(0), 1.0
        self.scaler = Scaler(np.zeros(0), np.ones(0), np.zeros((0, 0)))
        self.spread = 0.0  # of the rewards, their unit; 0: all are alike
        self.start = np.zeros(0)  # (d,) mean features of first observations
        self.delta = np.zeros(0)  # (S,) by action row; NaN where not weighed yet
        self._fitted = np.zeros(3, np.int64)  # training step, steps of data, and relabellings at the last fit
        super().__init__(store, config, seed)

    def refresh(self, step: int, score: Score | None = None) -> None:
        """Weigh new episodes; fit V anew where there is enough new and it is time."""
        if not self.watch.changed(self.store):
            return
        at, steps, relabelled = self._fitted
        late = step - at >= self.config.refit_every
        if self.store.num_steps >= 2 * steps or late or relabelled != self.store.relabelled:
            self.fit(step)
        self.law = self.make_law(self.store.live)

    def fit(self, step: int = 0) -> None:
        """Fit V to the live episodes; what was weighed before is weighed anew."""
        ids = self.store.live
        self._fitted = np.array([step, self.store.num_steps, self.store.relabelled])
        self.delta = np.zeros(0)
        if not len(ids):
            return
        self.store.require_vectors("the sampler 'density'")
        rng = stream(self.seed, "density")
        episode, t = drawn_steps(self.store, ids, self.config.fit_rows, rng)  # (m,) both
        self._fit_scaler(ids, episode, t)
        r = self.store.rewards.rows(self.store.table.start[episode] + t).astype(np.float64)
        all_finite(r, episode, "reward")
        mean = np.abs(r).mean()
        self.spread = float(r.std()) if r.std() > ALIKE * mean else 0.0
        if not self.spread:
            self.note("density: all rewards are the same; the law is uniform over steps")
            return
        psi = self._flows(episode, t)
        self.theta, self.eta = fit_ratio(Dual(r / self.spread, psi, self.config.kl, self.config.ridge))

    def log_weights(self, ids: np.ndarray) -> np.ndarray:
        """Return delta (R,) of every step, in units of the spread of rewards."""
        length, start = self.store.table.length[ids], self.store.table.start[ids]
        rows = np.repeat(start - begins(self.store, ids), length) + np.arange(length.sum())  # (R,)
        missing = len(self.store.actions) - len(self.delta)
        self.delta = np.append(self.delta, np.full(max(0, missing), np.nan))
        new = ids[np.isnan(self.delta[start])]
        for part, at, reward, psi in self._blocks(new):
            delta = reward / self.spread + psi @ self.theta if self.spread else np.zeros(len(reward))
            self.delta[at] = all_finite(
                delta, np.repeat(new[part], self.store.table.length[new[part]]), "step"
            )
        return self.delta[rows]

    def least_temperature(self) -> float:
        """Return eta."""
        return self.eta

    def stats(self) -> dict[str, float]:
        """Return the law's figures, eta, and KL(p || uniform) over steps."""
        p = np.diff(self._edges)
        seen = p[p > 0]
        kl = float((seen * np.log(seen * len(p))).sum()) if len(p) else 0.0
        return {**super().stats(), "eta": self.eta, "kl_steps": kl}

    def state_dict(self) -> dict[str, Any]:
        """Return V with what it was fitted on, and every weight."""
        fitted = {"theta": self.theta, "eta": self.eta, "spread": self.spread, "start": self.start}
        scaler = {f"scaler_{name}": values for name, values in self.scaler.state().items()}
        return {
            **super().state_dict(), **fitted, **scaler, "delta": self.delta.copy(), "fitted": self._fitted
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore everything."""
        super().load_state_dict(state)
        self.theta, self.start = np.array(state["theta"]), np.array(state["start"])
        self.eta, self.spread = float(state["eta"]), float(state["spread"])
        self.scaler = Scaler(*(np.array(state[f"scaler_{name}"]) for name in ("mean", "divisor", "axes")))
        self.delta, self._fitted = np.array(state["delta"]), np.array(state["fitted"], np.int64)
        self._fitted[2] = self.store.relabelled  # counted from where the store was opened

    def _fit_scaler(self, ids: np.ndarray, episode: np.ndarray, step: np.ndarray) -> None:
        """Standardise the observations of some steps (m,), and find the features of a start."""
        obs = self.store.obs.rows(self.store.table.start[episode] + episode + step)
        all_finite(obs.sum(1), episode, "observation")
        wide = WIDEST if obs.shape[1] > WIDEST else 0
        self.scaler = Scaler.fit(obs, [1] * obs.shape[1], block_scale=False, components=wide)
        self.start = self._features(first_observations(self.store, ids)).mean(0)

    def _blocks(self, ids: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield in blocks: slice of ids, action rows, rewards and flows of all steps of episodes."""
        for part, rows, _ in step_rows(self.store, ids):
            episode = np.repeat(ids[part], self.store.table.length[ids[part]])
            step = rows - self.store.table.start[episode]
            yield part, rows, self.store.rewards.rows(rows).astype(np.float64), self._flows(episode, step)

    def _flows(self, episode: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return phi(o_{t+1}) - phi(o_t) (m, d); behind an episode's last step comes a new start."""
        row = self.store.table.start[episode] + episode + step
        after = self._features(self.store.obs.rows(row + 1))
        after[step == self.store.table.length[episode] - 1] = self.start
        return after - self._features(self.store.obs.rows(row))

    def _features(self, obs: np.ndarray) -> np.ndarray:
        """Return phi (m, d) of observations."""
        z = np.clip(self.scaler(obs).astype(np.float64), -LIMIT, LIMIT)
        return np.column_stack([z, z * z - 1])
