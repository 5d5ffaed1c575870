"""Diffusion: noise schedules, the forward process and the estimate of the clean action.

    x_i   = sqrt(abar_i) a + sqrt(1 - abar_i) eps,   i in 0 .. K-1,   abar_i = prod of (1 - beta) up to i
    x0hat = x_i / sqrt(abar_i) - sqrt(1/abar_i - 1) eps_hat

Ho et al. 2020; the schedule vp is that of Wang et al. 2023.  `trajrl.nets.solvers` runs it backwards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from trajrl.core.registry import unknown


def vp(steps: int) -> np.ndarray:
    """1 - exp(-b0/K - (b1 - b0)(2n - 1)/(2 K^2)), n = 1 .. K, b0 = 0.1, b1 = 10; abar_K = e^-5.05."""
    n = np.arange(1, steps + 1)
    return 1 - np.exp(-0.1 / steps - 0.5 * (10 - 0.1) * (2 * n - 1) / steps**2)


def cosine(steps: int) -> np.ndarray:
    """min(1 - f((i+1)/K) / f(i/K), 0.999), f(u) = cos^2((u + s)/(1 + s) pi/2), s = 0.008."""
    f = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - f[1:] / f[:-1], 0.999)


def linear(steps: int) -> np.ndarray:
    """1e-4 .. 0.02 whatever K is: few steps barely add noise."""
    return np.linspace(1e-4, 2e-2, steps)


def linear_scaled(steps: int) -> np.ndarray:
    """0.1/K .. 20/K, so that the last level is noise for any K that is large enough."""
    return np.linspace(0.1 / steps, 20 / steps, steps)


SCHEDULES: dict[str, Callable[[int], np.ndarray]] = {
    "cosine": cosine,
    "linear": linear,
    "linear_scaled": linear_scaled,
    "vp": vp,
}


class Diffusion(nn.Module):
    """The forward process of K levels; tables per level, computed in double precision."""

    signal: Tensor  # (K,) sqrt(abar)
    noise: Tensor  # (K,) sqrt(1 - abar)

    def __init__(self, steps: int, schedule: str = "vp") -> None:
        super().__init__()
        if schedule not in SCHEDULES:
            raise ValueError(unknown("schedule", schedule, SCHEDULES))
        if steps < 1:
            raise ValueError(f"diffusion needs at least 1 step; got {steps}")
        betas = SCHEDULES[schedule](steps)
        if betas.max() >= 1:
            raise ValueError(f"schedule {schedule} needs more than {steps} steps: a beta is {betas.max():g}")
        self.steps = steps
        self.abar = np.cumprod(1 - betas)  # (K,) float64, for the solvers
        self.register_buffer("signal", torch.tensor(np.sqrt(self.abar)).float(), persistent=False)
        self.register_buffer("noise", torch.tensor(np.sqrt(1 - self.abar)).float(), persistent=False)

    def q_sample(self, actions: Tensor, level: Tensor, eps: Tensor) -> Tensor:
        """Return x_i (B, D) of actions and eps (B, D) at one level (B,) per row."""
        return self.signal[level, None] * actions + self.noise[level, None] * eps

    def eps_hat(self, x: Tensor, level: Tensor, actions: Tensor) -> Tensor:
        """Return the noise (B, D) in x_i that an estimate of the clean action (B, D) leaves."""
        return (x - self.signal[level, None] * actions) / self.noise[level, None]

    def x0_hat(self, x: Tensor, level: Tensor, eps_hat: Tensor) -> Tensor:
        """Return the estimate of the clean action (B, D), not clamped."""
        return (x - self.noise[level, None] * eps_hat) / self.signal[level, None]


def level_weights(abar: np.ndarray) -> np.ndarray:
    """Return each level's share of the evidence bound, beta / (2 alpha (1 - abar)), scaled to mean 1."""
    alpha = abar / np.concatenate([[1.0], abar[:-1]])
    share = (1 - alpha) / (2 * alpha * (1 - abar))
    return share / share.mean()
