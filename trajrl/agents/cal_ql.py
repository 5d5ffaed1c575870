"""Cal-QL: CQL that presses the values of the policy's actions no lower than the return that the data had.

    G     = sum_{j < m} gamma^j r_{t+j} + gamma^m (1 - terminated) V(o_{t+m})
    gap_j = mean tau log sum_m exp(max(Q_j(o, a_m), G) / tau - log q(a_m)) - Q_j(o, a)
    L_Q   = sum_j mean (Q_j(o, a) - y)^2 + alpha (gap_j - goal),   y and the rest as in CQL

The m rewards of G run to the episode's end or its first solved step; V values a truncated end by one action
of the policy, also where the target takes the best of M: gamma^m leaves little of it, and a return is no
best case.  Uniform actions have no bound.  Values then keep the scale of returns, so that learning online
need not unlearn values that are too low.

Paper: Nakamoto et al. 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trajrl.agents.base import conservative
from trajrl.agents.base.conservative import ConservativeLearner, Noise
from trajrl.agents.base.learner import Metrics
from trajrl.agents.base.protocol import History
from trajrl.agents.presets.cal_ql import PRESETS, preset
from trajrl.nets.targets import masked_mean
from trajrl.store.window import SequenceBatch, WindowSpec

__all__ = ["PRESETS", "CalQL", "Config", "Noise", "preset"]


@dataclass(frozen=True)
class Config(conservative.Config):
    """Defaults are the published ones; task families are in the presets."""

    alpha: float = 5.0  # weight of the gap, where a learned one starts; raising it: lower values off the data
    best_next: bool = True  # True: the target takes the best of M actions
    actor_lr: float = 1e-4  # learning rate of the policy and of the temperature
    depth: int = 2  # hidden layers; raising it: finer, slower
    calibrate: bool = True  # False: CQL's gap, without the bound; some code drops it online

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from, with their returns to go."""
        gamma = self.gamma if self.calibrate else None
        return WindowSpec(self.history, 1, self.horizon, return_gamma=gamma)


class CalQL(ConservativeLearner):
    """Calibrated Q-learning."""

    config: Config

    def critic_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """TD error and calibrated gap of every critic; returns (loss, absolute TD error (B,), metrics)."""
        view, q = self.data_values(batch)  # (B, ctx), (E, B)
        y, metrics = self.td_target(batch, noise), {}  # (B,)
        tried, density = self.tried(batch, view, noise)  # (E, B, 3 M), (B, 3 M)

        # max(Q_j(o, a_m), G) for the 2 M actions of the policy: where G is the larger, nothing is pressed.
        if self.config.calibrate:
            bound, valid = self.bound(batch, noise), batch.steps > 0  # (B,) both
            tried, below = self.calibrated(tried, bound)
            metrics["critic/bound"] = masked_mean(bound, valid)
            metrics["critic/bounded_share"] = masked_mean(below, valid)

        # The gap of every critic between the actions tried and the data's.
        gap = self.log_sum_exp(tried, density, q) - q  # (E, B)
        loss, td_error, common = self.with_gap(batch, q, y, gap)
        return loss, td_error, {**common, **metrics}

    def calibrated(self, tried: Tensor, bound: Tensor) -> tuple[Tensor, Tensor]:
        """Return values (E, B, 3 M), the policy's bounded by G (B,), and the share that was below (E, B)."""
        uniform, own = tried.split((self.config.samples, 2 * self.config.samples), -1)
        below = (own < bound[:, None]).float().mean(-1)
        return torch.cat((uniform, own.maximum(bound[:, None])), -1), below

    @torch.no_grad()
    def bound(self, batch: SequenceBatch, noise: Noise) -> Tensor:
        """Return G (B,); the bootstrap's first noise serves at the episode's end too."""
        assert batch.returns is not None
        assert batch.end_discount is not None
        assert batch.end_obs is not None
        assert batch.end_prev_actions is not None
        assert batch.end_history_mask is not None
        end = History(batch.end_obs, batch.end_prev_actions, batch.end_history_mask)
        future = batch.end_discount * self.soft_value(end, noise.next[:, :1])
        return batch.returns + torch.where(batch.end_discount > 0, future, 0.0)
