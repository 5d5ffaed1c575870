"""OneStep: a student of a diffusion policy that gives in one pass what the chain gives from the same noise.

    mu(c, z) = net(cat(z, c))        L = mean || mu(c, z) - chain(c, z) ||^2,   z ~ N(0, I)

chain(c, z) is the policy solved without noise of its own, so that z fixes the action: the solvers ddim and
dpm as they are, ddpm as ddim over the same levels.  L keeps every mode, as z says which of them the chain
falls into.  The net has the denoiser's shape, and begins with its hidden layers at the level of pure noise.

Paper: Park et al. 2025 (the actor of FQL).
"""

from __future__ import annotations

from copy import deepcopy
from typing import Protocol

import torch
from torch import Tensor, nn

from trajrl.nets.denoiser import DiffusionPolicy
from trajrl.nets.mlp import MLP, Linear, draw_linear


class Proposer(Protocol):
    """What gives actions from noise: a chain, or its student."""

    @property
    def draws(self) -> int:
        """Return how many N(0, I) tensors one sample takes."""

    def sample(self, context: Tensor, noise: Tensor) -> Tensor:
        """Return actions (B, D) in [-1, 1] from noise (draws, B, D); context is (B, ctx)."""


class OneStep(nn.Module):
    """The student of one chain."""

    draws = 1

    def __init__(self, chain: DiffusionPolicy, rng: torch.Generator) -> None:
        """Begin with the hidden layers of the chain's denoiser; `rng`, on the CPU, draws the last one."""
        super().__init__()
        self.net = hidden_layers(chain)
        weight = self.net.weights(-1)[0]  # (D, width)
        last = Linear(weight.shape[1], len(weight), device="cpu")
        draw_linear(last.weight, last.bias, rng)
        self.net.layers[-1] = last.to(weight.device)
        self.requires_grad_(True)

    def forward(self, context: Tensor, noise: Tensor) -> Tensor:
        """Return mu (B, D), not clamped, of context (B, ctx) and noise (B, D)."""
        return self.net(torch.cat((noise, context), -1))

    def sample(self, context: Tensor, noise: Tensor) -> Tensor:
        """Return actions (B, D) in [-1, 1] from noise (1, B, D)."""
        return self(context, noise[0]).clamp(-1, 1)

    def loss(self, context: Tensor, noise: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        """Return mean over rows of weight (B,) times the mean square of mu - goal (B, D)."""
        return (weight * (self(context, noise) - goal).square().mean(1)).mean()


@torch.no_grad()
def hidden_layers(chain: DiffusionPolicy) -> MLP:
    """Copy the denoiser's net; its inputs are z and the context, and the level's share is in the bias."""
    net, size = deepcopy(chain.denoiser.net), chain.denoiser.own
    weight, bias = net.first()  # (width, D + time + ctx), (width,)
    width = len(net.weights(-1)[1])  # D
    temb = chain.denoiser.embed(chain.every_level[-1:])[0]  # (time,)
    first = Linear(weight.shape[1] - (size - width), len(bias), device=weight.device)
    first.weight.copy_(torch.cat((weight[:, :width], weight[:, size:]), 1))
    first.bias.copy_(bias + weight[:, width:size] @ temb)
    net.layers[0] = first
    return net
