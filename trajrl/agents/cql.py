"""CQL: soft actor-critic whose values are pressed down on its own and random actions, and up on the data's.

    y      = R_k + gamma^k (1 - terminated) min_j Q'_j(o_{t+k}, a'),   a' ~ pi;  less temp log pi by option
    gap_j  = mean tau log sum_m exp(Q_j(o, a_m) / tau - log q(a_m)) - Q_j(o, a)
    L_Q    = sum_j mean (Q_j(o, a) - y)^2 + alpha (gap_j - goal)

a_1 .. a_3M: M uniform actions, M of pi at o and M of pi at o_{t+k}.  form "importance", the paper's CQL(H),
divides by their densities q; "plain" takes q = 1 and counts the data's action too, which is CQL(rho) with all
of them for rho.  alpha is fixed, and goal 0, or under `lagrange` learned.  The parts are in
base/conservative.py.

Paper: Kumar et al. 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trajrl.agents.base import conservative
from trajrl.agents.base.conservative import ConservativeLearner, Noise
from trajrl.agents.base.learner import Metrics
from trajrl.agents.presets.cql import PRESETS, preset
from trajrl.store.window import SequenceBatch

__all__ = ["CQL", "PRESETS", "Config", "Noise", "preset"]


@dataclass(frozen=True)
class Config(conservative.Config):
    """Defaults are those of the public runs on locomotion; other task families are in the presets."""


class CQL(ConservativeLearner):
    """Conservative Q-learning."""

    config: Config

    def critic_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """TD error and conservative gap of every critic; returns (loss, absolute TD error (B,), metrics)."""
        view, q = self.data_values(batch)  # (B, ctx), (E, B)
        y = self.td_target(batch, noise)  # (B,)

        # The gap of every critic between the actions tried and the data's.
        tried, density = self.tried(batch, view, noise)  # (E, B, 3 M), (B, 3 M)
        gap = self.log_sum_exp(tried, density, q) - q  # (E, B)
        return self.with_gap(batch, q, y, gap)
