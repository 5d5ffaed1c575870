"""Return-weighted: good episodes more often, by their return.

    p(e, t) ~ exp(x_e / temperature) T_e^(exponent - 1)
    rw: x_e = minmax(G_e)       aw: x_e = minmax(G_e - V(o_0)), V = least squares of G on o_0 and 1

then no episode above max_share, then p = (1 - floor) p + floor / n.  G is undiscounted and of raw rewards.

Paper: Hong et al. 2023 (RW and AW, arXiv 2306.13085).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from trajrl.core.registry import unknown
from trajrl.samplers.base.distributions import check_share, with_floor
from trajrl.samplers.base.episode_law import EpisodeLaw
from trajrl.samplers.base.returns import all_finite, minmax, returns_of

LAWS = ("aw", "rw")
RIDGE = 1e-6
EXPLAINED = 1e-5  # of the span of returns: what is left below this is rounding and ridge


@dataclass(frozen=True)
class Config:
    """How strongly returns count."""

    law: str = "aw"  # aw: return beyond what the first observation predicts; rw: the return itself
    temperature: float = 0.1  # higher: closer to uniform; published: 0.1 for IQL and TD3+BC, 0.2 for CQL
    exponent: float = 1.0  # of the length in p(e); 1: as published, 0: short and long episodes weigh the same
    max_share: float = 1.0  # most of the draws that one episode may take; lower: closer to uniform
    floor: float = 0.0  # share of draws that is uniform over all episodes; higher: more of the rest is seen

    def validate(self) -> None:
        """Refuse unknown laws and numbers out of range."""
        if self.law not in LAWS:
            raise ValueError(unknown("law of return weighting", self.law, LAWS))
        if not self.temperature > 0:
            raise ValueError(f"the sampler option 'temperature' is above 0; got {self.temperature}")
        if not isfinite(self.exponent):
            raise ValueError(f"the sampler option 'exponent' is a finite number; got {self.exponent}")
        check_share("max_share", self.max_share)
        check_share("floor", self.floor)


class WeightedSampler(EpisodeLaw):
    """Episodes by exp(return), steps uniform."""

    config_type = Config

    def masses(self, ids: np.ndarray) -> np.ndarray:
        """Return T_e^exponent exp(x_e / temperature), capped and with the floor mixed in."""
        config, length = self.config, self.store.table.length[ids]
        x = minmax(self._worth(ids))  # (n,)
        with np.errstate(over="ignore"):  # exp of what is below every number is 0
            log_p = (x - x.max()) / config.temperature + config.exponent * np.log(length)
            p = np.exp(log_p - log_p.max())
        return with_floor(capped(p / p.sum(), config.max_share), config.floor)

    def _worth(self, ids: np.ndarray) -> np.ndarray:
        returns = returns_of(self.store, ids)
        if self.config.law == "rw":
            return returns
        first = self.store.obs.rows(self.store.table.start[ids] + ids)  # (n, obs), o_0
        if len(ids) <= 2 * first.shape[1]:
            self.note(
                f"weighted: {len(ids)} episodes are too few to fit V(o_0); the law is rw until there are more"
            )
            return returns
        left = returns - linear_value(all_finite_rows(first, ids), returns)
        if np.ptp(left) < EXPLAINED * np.ptp(returns):
            self.note("weighted: the first observation explains every return; the law is uniform over steps")
            return np.zeros(len(ids))
        return left


def linear_value(first: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """Return V(o_0) (n,): least squares with intercept, and a little ridge where it has no one answer."""
    x = first.astype(np.float64)
    x -= x.mean(0)
    spread = x.std(0)
    x /= np.where(spread > 1e-12, spread, 1)
    gram = x.T @ x / len(x)  # (obs, obs)
    if np.linalg.matrix_rank(gram, hermitian=True) < len(gram):
        gram += RIDGE * np.eye(len(gram))
    slope = np.linalg.solve(gram, x.T @ (returns - returns.mean()) / len(x))
    return returns.mean() + x @ slope


def all_finite_rows(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return rows (n, width), or say which episode's is not all numbers."""
    all_finite(rows.sum(1), ids, "first observation")
    return rows


def capped(p: np.ndarray, limit: float) -> np.ndarray:
    """Return p (n,) with no entry above the limit, what is cut off spread over the others in proportion."""
    limit = max(limit, 1 / len(p))
    full = np.zeros(len(p), bool)
    while (p > limit * (1 + 1e-12)).any():
        full |= p > limit
        rest = p[~full].sum()
        left = 1 - limit * full.sum()
        p = np.where(full, limit, p * (left / rest) if rest > 0 else left / max(1, (~full).sum()))
    return p
