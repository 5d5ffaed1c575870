"""Uniform over steps: p(e, t) = 1 / sum T, so p(e) = T_e / sum T.

Long episodes weigh more than short ones.

Paper: none; the baseline.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trajrl.samplers.base.episode_law import EpisodeLaw


@dataclass(frozen=True)
class Config:
    """No options."""

    def validate(self) -> None:
        """Accept: there is nothing to be wrong."""


class UniformSampler(EpisodeLaw):
    """Every step of the store is equally likely."""

    config_type = Config

    def masses(self, ids: np.ndarray) -> np.ndarray:
        """Return T_e."""
        return self.store.table.length[ids].astype(np.float64)
