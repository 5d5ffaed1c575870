"""Uniform over episodes, then over steps: p(e, t) = 1 / (n T_e).

Short episodes weigh as much as long ones.

Paper: none; a baseline.
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


class EpisodeSampler(EpisodeLaw):
    """Every episode is equally likely, and every step within it."""

    config_type = Config

    def masses(self, ids: np.ndarray) -> np.ndarray:
        """Return 1."""
        return np.ones(len(ids))
