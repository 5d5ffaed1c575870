"""Tanh-Gaussian policy: a = tanh(u), u ~ N(mean, std^2), with its log density.

    log pi(a|o) = sum over dimensions of  log N(u; mean, std^2) - log(1 - tanh(u)^2)

Densities come per dimension, so that a caller can leave padded steps of a chunk out before it sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from trajrl.nets.mlp import GAIN, MLP

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
INSIDE = 1 - 1e-5  # a recorded action is moved inside the open box before its density is taken


class TanhGaussian(nn.Module):
    """Context (..., ctx) -> mean and log std, both (..., D), of the Gaussian before the tanh."""

    def __init__(
        self,
        context_dim: int,
        hidden: Sequence[int],
        action_dim: int,
        rng: torch.Generator,
        *,
        activation: str = "relu",
        layer_norm: str = "none",
        init: str = "xavier",
        out_gain: float = GAIN,
        log_std: float = 0.0,
    ) -> None:
        """Draw the weights.

        Args:
            out_gain: as in MLP
            log_std: where the log std begins, but for what the weights add
        """
        super().__init__()
        self.net = MLP(
            context_dim, hidden, 2 * action_dim, rng,
            activation=activation, layer_norm=layer_norm, init=init, out_gain=out_gain, norm_eps=1e-6,
        )  # fmt: skip
        if log_std:
            with torch.no_grad():
                self.net.weights(-1)[1][action_dim:] += log_std

    def forward(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log std; the log std is kept in [-20, 2]."""
        mean, log_std = self.net(context).float().chunk(2, -1)  # (..., D) both; densities need float32
        return mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)

    @staticmethod
    def action(mean: Tensor, log_std: Tensor, noise: Tensor | None) -> Tensor:
        """Return the action (..., D) of noise ~ N(0, I); without noise the tanh of the mean."""
        return mean.tanh() if noise is None else squash(mean, log_std, noise)[0]


class BoundedGaussian(nn.Module):
    """Context (..., ctx) -> mean in (-1, 1) and a log std (D,) that is the same in every state.

    The density is the Gaussian's own, without a tanh around it: log N(a; tanh(net(o)), std^2).
    """

    LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0  # as in the published code of IQL

    def __init__(
        self, context_dim: int, hidden: Sequence[int], action_dim: int, rng: torch.Generator, **options: Any
    ) -> None:
        super().__init__()
        self.net = MLP(context_dim, hidden, action_dim, rng, activation="relu", **options)
        self.log_std = nn.Parameter(torch.zeros(action_dim))

    def forward(self, context: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean (..., D) and log std (D,); `keep` is dropout's, as in MLP."""
        mean = self.net(context, keep).float().tanh()
        return mean, self.log_std.clamp(self.LOG_STD_MIN, self.LOG_STD_MAX)

    @staticmethod
    def action(mean: Tensor, log_std: Tensor, noise: Tensor | None) -> Tensor:
        """Return the action (..., D) of noise ~ N(0, I), cut to the box; without noise the mean."""
        return mean if noise is None else (mean + log_std.exp() * noise).clamp(-1, 1)


def normal_density(mean: Tensor, log_std: Tensor, actions: Tensor) -> Tensor:
    """Return log N(a; mean, std^2) per dimension, (..., D)."""
    return _normal((actions - mean) * (-log_std).exp(), log_std)


def squash(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return actions (..., D) in (-1, 1) and their log densities (..., D) for noise ~ N(0, I)."""
    u = mean + log_std.exp() * noise
    return u.tanh(), _normal(noise, log_std) - log_slope(u)


def log_density(mean: Tensor, log_std: Tensor, actions: Tensor) -> Tensor:
    """Return the log densities (..., D) of recorded actions (..., D)."""
    u = actions.clamp(-INSIDE, INSIDE).atanh()
    return _normal((u - mean) * (-log_std).exp(), log_std) - log_slope(u)


def log_slope(u: Tensor) -> Tensor:
    """Return log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)), exact for large |u| too."""
    return 2 * (log(2) - u - softplus(-2 * u))


def _normal(standard: Tensor, log_std: Tensor) -> Tensor:
    """Return log N(u; mean, std^2) where standard = (u - mean) / std."""
    return -0.5 * standard.square() - log_std - 0.5 * log(2 * pi)


class Temperature(nn.Module):
    """A positive weight of the entropy, learned through its logarithm."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(log(start)))

    def forward(self) -> Tensor:
        """Return the weight."""
        return self.log.exp()
