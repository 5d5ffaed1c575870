"""Guidance of a denoiser by the gradient of Q: how strong it is at each level, and where Q is asked.

    x_i = sqrt(abar_i) a + sqrt(1 - abar_i) eps       x0 = (x_i - sqrt(1 - abar_i) eps_hat) / sqrt(abar_i)

With eps_hat held fixed the gradient at x_i is that at x0 over sqrt(abar_i), so `x0_mean` and `pred`
are one rule.  The names are those of the published variants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from trajrl.nets.diffusion import Diffusion
from trajrl.nets.stacked import gradient, leaf

PLACES = (
    "action",
    "x0",
    "x_i",
)  # the data's action, the estimate of it, or the noisy action through the estimate


class Ratio(NamedTuple):
    """A variant of guidance."""

    strength: Callable[[Tensor, Tensor], Tensor]  # of signal = sqrt(abar) and noise = sqrt(1 - abar), (B, 1)
    place: str  # where the gradient is taken, one of PLACES


RATIOS: dict[str, Ratio] = {
    "new_base": Ratio(lambda signal, noise: 1 / signal, "x0"),
    "pred": Ratio(lambda signal, noise: noise, "x_i"),
    "snr": Ratio(lambda signal, noise: torch.ones_like(signal), "x0"),
    "snr_real": Ratio(lambda signal, noise: noise * signal, "x0"),
    "snr_test": Ratio(lambda signal, noise: noise**2, "x0"),
    "test_0": Ratio(lambda signal, noise: 1 / signal, "action"),
    "x0_mean": Ratio(lambda signal, noise: noise / signal, "x0"),
    "x0_mean_new": Ratio(lambda signal, noise: noise**3 / signal, "x0"),
    "x0_new": Ratio(lambda signal, noise: signal, "action"),
}


def strength(diffusion: Diffusion, level: Tensor, ratio: str) -> Tensor:
    """Return the ratio (B, 1) at each row's level (B,)."""
    return RATIOS[ratio].strength(diffusion.signal[level, None], diffusion.noise[level, None])


def guidance(
    value: Callable[[Tensor], Tensor],
    diffusion: Diffusion,
    actions: Tensor,
    x: Tensor,
    level: Tensor,
    eps_hat: Tensor,
    ratio: str = "x0_mean",
    clamp_x0: bool = False,
) -> Tensor:
    """Return the gradient (B, D) of sum_b value_b where the ratio says; eps_hat (B, D) is held fixed.

    Args:
        value: actions (B, D) -> (B,)
        clamp_x0: the estimate is cut to the box before it is valued; the gradient at the edge passes whole
    """
    place, eps_hat = RATIOS[ratio].place, eps_hat.detach()
    with torch.enable_grad():
        start = {"action": actions, "x0": diffusion.x0_hat(x, level, eps_hat), "x_i": x}[place]
        start = leaf(start)
        seen = diffusion.x0_hat(start, level, eps_hat) if place == "x_i" else start
        if clamp_x0:
            seen = seen + (seen.clamp(-1, 1) - seen).detach()
        return gradient(value(seen), start)
