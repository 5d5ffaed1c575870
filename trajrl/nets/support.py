"""How far an action lies from the data, by a diffusion model of the behaviour, and the threshold of that.

s(c, a) = mean over levels and entries of (eps_b(x_i, i, c) - eps)^2
kappa   = quantile of s over pairs of the data        gate = clip((s - kappa) / kappa, 0, 1)
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from trajrl.nets.denoiser import DiffusionPolicy

FEW_LEVELS = 10  # up to so many diffusion steps a score looks at every level


def score_levels(steps: int, count: int) -> Tensor:
    """Return the levels (L,) a score looks at: all of a few, else the middle of each of `count` strata."""
    if steps <= max(FEW_LEVELS, count):
        return torch.arange(steps)
    return ((torch.arange(count) + 0.5) * steps / count).long()


def denoising_score(
    policy: DiffusionPolicy, levels: Tensor, context: Tensor, actions: Tensor, noise: Tensor
) -> Tensor:
    """Return s (B,) of actions (B, D) at contexts (B, ctx); levels is (L,), noise (B, L, D)."""
    count = len(levels)
    level, eps = levels.repeat(len(actions)), noise.flatten(0, 1)  # (B L,), (B L, D)
    x = policy.diffusion.q_sample(actions.repeat_interleave(count, 0), level, eps)
    error = (policy.predict(x, level, context.repeat_interleave(count, 0)) - eps).square()
    return error.mean(1).unflatten(0, (-1, count)).mean(1)


class Threshold:
    """kappa: infinite until enough scores of the data were seen; its state is saved with the agent."""

    in_losses: ClassVar[tuple[str, ...]] = ("kappa", "noise")  # tensors that losses and acting read

    def __init__(self, levels: int, width: int, rng: torch.Generator, device: torch.device) -> None:
        self.kappa = torch.full((), torch.inf, device=device)
        self.scores = torch.zeros(0, device=device)  # (n,) seen so far
        self.noise = torch.randn(levels, width, generator=rng).to(device)  # (L, D) for scores when acting

    def take(self, scores: Tensor, quantile: float, last: bool) -> None:
        """Take in scores of the data; after the last ones kappa is their quantile."""
        self.scores = torch.cat((self.scores, scores.detach()))
        if last and len(self.scores):
            self.kappa.copy_(self.scores.quantile(quantile))  # in place: of several seeds it is a share
            self.scores = self.scores[:0].clone()

    def gate(self, scores: Tensor) -> Tensor:
        """Return clip((s - kappa) / kappa, 0, 1)."""
        return (scores / self.kappa - 1).clamp(0, 1)

    def state_dict(self) -> dict[str, Any]:
        """Return kappa, the scores seen so far and the noise."""
        return {"kappa": self.kappa, "scores": self.scores, "noise": self.noise}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        device = self.kappa.device
        self.kappa, self.scores, self.noise = (
            state[n].to(device, copy=True) for n in ("kappa", "scores", "noise")
        )
