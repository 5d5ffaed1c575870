"""The loss of Q-guided score matching: the denoiser regresses noise shifted against the gradient of Q.

x_i  = sqrt(abar) a + sqrt(1 - abar) eps        goal = eps - eta clamp(ratio g, -1, 1),  g = grad_{x0} Q
loss = mean w (eps_hat - sg(goal))^2            w = 1 / clamp(|g|, low, high) per row
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from trajrl.nets.denoiser import DiffusionPolicy
from trajrl.nets.guidance import guidance, strength
from trajrl.nets.targets import masked_mean


class Guidance(Protocol):
    """The fields that the loss reads of an agent's Config."""

    @property
    def eta(self) -> float:
        """Return the inverse temperature of Q."""

    @property
    def guidance_clip(self) -> float:
        """Return the bound on each entry of ratio g."""

    @property
    def norm_weight(self) -> tuple[float, float] | None:
        """Return the bounds low and high of |g| in the weight of a row; None: every row weighs 1."""

    @property
    def clamp_x0(self) -> bool:
        """Say whether Q sees the estimated action cut to the box."""


def guided_loss(
    config: Guidance,
    policy: DiffusionPolicy,
    value: Callable[[Tensor], Tensor],
    context: Tensor,
    actions: Tensor,
    level: Tensor,
    eps: Tensor,
    real: Tensor,
    weight: Tensor,
    ratio: str = "x0_mean",
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss and its metrics; nothing flows back through Q.

    Args:
        value: Q (B,) of clean actions (B, act)
        context, actions, level, eps: (B, ctx), (B, act), (B,), (B, act)
        real, weight: (B, 1) which rows count, and how much
    """
    # One noisy action per row, and the denoiser's estimate.
    x = policy.diffusion.q_sample(actions, level, eps)
    eps_hat = policy.predict(x, level, context)  # (B, act)

    # Guidance.  The gradient of Q stops at the estimate: nothing flows back through eps_hat.
    g = guidance(value, policy.diffusion, actions, x, level, eps_hat, ratio, config.clamp_x0)
    bound = config.guidance_clip
    pull = (strength(policy.diffusion, level, ratio) * g).clamp(-bound, bound)
    goal = eps - config.eta * pull

    # Regression, rows weighed by the size of g.
    size = torch.linalg.vector_norm(g, dim=1, keepdim=True)  # (B, 1)
    by_size = weight / size.clamp(*config.norm_weight) if config.norm_weight else weight
    loss = masked_mean((eps_hat - goal).square(), real, by_size)

    rec = masked_mean((eps_hat - eps).square(), real, weight)
    metrics = {
        "actor/loss": loss, "actor/bc_loss": rec, "actor/guidance": masked_mean(size, real),
        "actor/clipped_share": masked_mean((pull.abs() >= bound).float(), real),
    }  # fmt: skip
    return loss, metrics
