"""Advantage: trajectories by how far they went beyond what their first observation predicts.

    p(e, t) ~ exp(x_e / temperature) T_e^(exponent - 1),   x_e = minmax(G_e - V(o_0))
    V = ridge regression of G on o_0 and its squares, fitted without e; the mean of G where that errs less

then no episode above max_share, then p = (1 - floor) p + floor / n.  G is undiscounted and of raw rewards.
With ess, the temperature is the lowest whose draws are spread over that share of the windows:

    1 / (N sum_e p_e^2 / T_e) >= ess,   N = sum T

`weighted` fits V to the episodes that it then weighs, linearly: of few episodes it takes luck for prediction.

Paper: Yue et al. 2023 (ODPR, arXiv 2306.05412); Hong et al. 2023 (AW, arXiv 2306.13085).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trajrl.samplers.base.exponential_law import ExponentialConfig
from trajrl.samplers.base.exponential_sampler import ExponentialSampler
from trajrl.samplers.base.returns import first_observations, returns_of
from trajrl.samplers.base.start_values import beyond, start_values

WIDEST = 512  # numbers in o_0 that V is fitted to


@dataclass(frozen=True)
class Config(ExponentialConfig):
    """How strongly the advantage counts."""


class AdvantageSampler(ExponentialSampler):
    """Episodes by exp(advantage), steps uniform."""

    config_type = Config

    def worth(self, ids: np.ndarray) -> np.ndarray:
        """Return G_e - V(o_0)."""
        returns, first = returns_of(self.store, ids), first_observations(self.store, ids)  # (n,), (n, obs)
        if first.shape[1] > WIDEST:
            self.note(
                f"advantage: o_0 has {first.shape[1]} numbers, V takes at most {WIDEST}: it is the mean"
            )
            return returns
        return beyond(self, "advantage", returns, start_values(first, returns))
