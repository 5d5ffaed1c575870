"""Variational bound: how likely a diffusion policy makes recorded actions, from below, in nats per number.

    log p(a) >= -(L_T + L_{K-1} + ... + L_1 + L_0),   levels i = 0 .. K-1 and their abar_i as in diffusion.py
    L_T = KL(q(x_{K-1}|a) || N(0, 1)) = (abar a^2 - abar - log(1 - abar)) / 2,   abar of the last level
    L_i = KL(q(x_{i-1}|x_i, a) || p(x_{i-1}|x_i)) = (snr_{i-1} - snr_i) (a - x0hat_i)^2 / 2,   i = 1 .. K-1
    L_0 = -log N(a; x0hat_0, beta_0) = (a - x0hat_0)^2 / (2 beta_0) + log(2 pi beta_0) / 2

snr = abar / (1 - abar); x0hat_i is what the network makes of x_i, cut to the box as where it samples.  p is
the ddpm chain of all levels with the posterior's variance, as solvers.py runs it; its last step adds no
noise, which has no density, so here it has beta_0.  The bound is therefore below -log(2 pi beta_0) / 2
whatever the policy: -0.10 for vp with K = 5, where beta_0 = 0.196.  How far it is below the density depends
on the schedule: for a ~ N(0.3, 0.5^2) and the best denoiser 0.14 with vp of 5 levels, 0.61 with vp of 20.

Paper: Ho et al. 2020, equation 5.
"""

from __future__ import annotations

from math import log, pi
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trajrl.nets.diffusion import Diffusion

MOST = 3  # levels that are evaluated of one row: level 0, and 2 of the others or all if there are fewer


class Chain(Protocol):
    """A noise predictor and its forward process: a DiffusionPolicy."""

    diffusion: Diffusion

    def predict(self, x: Tensor, level: Tensor, context: Tensor) -> Tensor:
        """Return eps_hat (B, D) of x (B, D) at levels (B,)."""


def likelihood_bound(
    policy: Chain, context: Tensor, actions: Tensor, real: Tensor, rng: torch.Generator, clip: bool = True
) -> Tensor:
    """Return the bound (B,) of actions (B, D), averaged over a row's real numbers; NaN where there are none.

    Terms of padded numbers are left out, as in the loss.

    Args:
        real: (B, D) bool
        rng: on the CPU, of levels and noise
        clip: cut x0hat to [-1, 1]
    """
    diffusion = policy.diffusion
    level, weight = levels_of(len(actions), diffusion.abar, rng)  # (B, S) both
    count = level.shape[1]
    rows = actions.repeat_interleave(count, 0)  # (B S, D)
    eps = torch.randn(rows.shape, generator=rng).to(actions.device)
    at = level.flatten().to(actions.device)
    x = diffusion.q_sample(rows, at, eps)
    x0 = diffusion.x0_hat(x, at, policy.predict(x, at, context.repeat_interleave(count, 0)).float())
    error = ((x0.clamp(-1, 1) if clip else x0) - rows).square().unflatten(0, (-1, count))  # (B, S, D)
    cost = (weight.to(error)[..., None] * error).sum(1) + constant(diffusion.abar, actions)  # (B, D)
    mean = torch.where(real, cost, 0.0).sum(1) / real.sum(1)
    return -mean


def levels_of(rows: int, abar: np.ndarray, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw which levels of each row are evaluated, and their weights on the squared error, both (rows, S).

    Level 0 always is.  Of the others all are if they are few; else level i is drawn with a probability in
    proportion to L_i of the best denoiser of a ~ N(0, 1), where (a - x0hat_i)^2 is 1 / (1 + snr_i) in the
    mean, and weighs by its inverse.
    """
    snr, others = abar / (1 - abar), len(abar) - 1
    count = min(others, MOST - 1)
    level = torch.arange(count + 1).expand(rows, -1)
    if count == others:
        return level, torch.from_numpy(error_weights(abar))[level]
    likely = (snr[:-1] - snr[1:]) / (1 + snr[1:])
    likely = likely / likely.sum()  # (K - 1,) of levels 1 .. K - 1
    place = (torch.rand(rows, 1, generator=rng, dtype=torch.float64) + torch.arange(count)) / count
    drawn = 1 + torch.searchsorted(torch.from_numpy(likely.cumsum()), place).clamp(max=others - 1)
    level = torch.cat((level[:, :1], drawn), 1)
    share = np.concatenate(([1.0], 1 / (count * likely)))  # (K,)
    return level, torch.from_numpy(share * error_weights(abar))[level]


def error_weights(abar: np.ndarray) -> np.ndarray:
    """Return the factor (K,) of (a - x0hat_i)^2 in L_i."""
    snr = abar / (1 - abar)
    return np.concatenate(([0.5 / (1 - abar[0])], (snr[:-1] - snr[1:]) / 2))


def constant(abar: np.ndarray, actions: Tensor) -> Tensor:
    """Return what no network decides, of actions (B, D): L_T and the logarithm in L_0."""
    left, first = abar[-1], 1 - abar[0]
    return (actions.square() * left - left - log(1 - left)) / 2 + log(2 * pi * first) / 2
