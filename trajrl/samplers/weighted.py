"""Return-weighted: good episodes more often, by their return.

    p(e, t) ~ exp(x_e / temperature) T_e^(exponent - 1)
    rw: x_e = minmax(G_e)       aw: x_e = minmax(G_e - V(o_0)), V = least squares of G on o_0 and 1

then no episode above max_share, then p = (1 - floor) p + floor / n.  G is undiscounted and of raw rewards.
With ess, the temperature is the lowest whose draws are spread over that share of the windows:

    1 / (N sum_e p_e^2 / T_e) >= ess,   N = sum T

Paper: Hong et al. 2023 (RW and AW, arXiv 2306.13085).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trajrl.core.registry import unknown
from trajrl.samplers.base.exponential_law import ExponentialConfig
from trajrl.samplers.base.exponential_sampler import ExponentialSampler
from trajrl.samplers.base.returns import first_observations, returns_of
from trajrl.samplers.base.start_values import beyond

LAWS = ("aw", "rw")
RIDGE = 1e-6


@dataclass(frozen=True)
class Config(ExponentialConfig):
    """How strongly returns count."""

    law: str = "aw"  # aw: return beyond what the first observation predicts; rw: the return itself

    def validate(self) -> None:
        """Refuse unknown laws and numbers out of range."""
        super().validate()
        if self.law not in LAWS:
            raise ValueError(unknown("law of return weighting", self.law, LAWS))


class WeightedSampler(ExponentialSampler):
    """Episodes by exp(return), steps uniform."""

    config: Config
    config_type = Config

    def worth(self, ids: np.ndarray) -> np.ndarray:
        """Return G_e, or G_e - V(o_0)."""
        returns = returns_of(self.store, ids)
        if self.config.law == "rw":
            return returns
        first = first_observations(self.store, ids)  # (n, obs)
        if len(ids) <= 2 * first.shape[1]:
            self.note(
                f"weighted: {len(ids)} episodes are too few to fit V(o_0); the law is rw until there are more"
            )
            return returns
        return beyond(self, "weighted", returns, linear_value(first, returns))


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
