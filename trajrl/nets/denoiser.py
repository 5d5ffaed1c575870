"""Denoiser: net(cat(x_i, temb_i, context)), and the diffusion policy built on it.

    predicts = noise     eps_hat = net                                              error = net - eps
    predicts = action    eps_hat = (x_i - sqrt(abar_i) net) / sqrt(1 - abar_i)      error = net - a

Where a state has one action to clone, a net that gives it passes nothing of x_i on: it errs as little as a
regression does.

temb_i = MLP(cat(sin, cos) of i f_j), f_j = exp(-j ln(1e4) / (half - 1)), j < half.  Inputs stand in the
order of the public Diffusion-QL weights.  The context's share of the first layer is one for all levels: a
chain computes it once; the weight stays one parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trajrl.nets.diffusion import Diffusion
from trajrl.nets.fused import serves
from trajrl.nets.fused_chain import chain
from trajrl.nets.mlp import MLP, affine
from trajrl.nets.solvers import BY_LEVEL, Plan, kernel_steps, plan, sample


class Conditioned(NamedTuple):
    """What the first layer makes of a context, and its weight for the rest of the input."""

    weight: Tensor  # (width, D + time)
    share: Tensor  # (B, width)  context part of the first layer, bias included


class Denoiser(nn.Module):
    """Predicts the noise in x_i (B, D), or the action under it, given a context (B, ctx)."""

    frequencies: Tensor

    def __init__(
        self,
        action_dim: int,
        context_dim: int,
        hidden: Sequence[int],
        rng: torch.Generator,
        *,
        activation: str = "mish",
        layer_norm: str = "none",
        time_dim: int = 16,
        cos_first: bool = False,
    ) -> None:
        """Build the net; `cos_first` gives cat(cos, sin), frequencies spaced by half instead of half - 1."""
        super().__init__()
        half = time_dim // 2
        if time_dim % 2 or half < 2:
            raise ValueError(f"time_dim must be even and at least 4; got {time_dim}")
        spacing = log(1e4) / (half if cos_first else half - 1)
        self.cos_first = cos_first
        self.register_buffer("frequencies", torch.exp(-spacing * torch.arange(half)), persistent=False)
        self.time_mlp = MLP(time_dim, (2 * time_dim,), time_dim, rng, activation=activation)
        self.net = MLP(
            action_dim + time_dim + context_dim,
            hidden,
            action_dim,
            rng,
            activation=activation,
            layer_norm=layer_norm,
        )
        self.own = action_dim + time_dim  # leading inputs that are not context

    def embed(self, levels: Tensor) -> Tensor:
        """Return temb (S, time) of levels (S,)."""
        return self.time_mlp(self.waves(levels))

    def waves(self, levels: Tensor) -> Tensor:
        """Return the sines and cosines (S, time) of levels (S,), which never change."""
        angles = levels[:, None] * self.frequencies  # (S, half)
        parts = (angles.cos(), angles.sin()) if self.cos_first else (angles.sin(), angles.cos())
        return torch.cat(parts, -1)

    def condition(self, context: Tensor) -> Conditioned:
        """Compute once per chain what does not depend on the level; context is (B, ctx)."""
        weight, bias = self.net.first()
        return Conditioned(weight[:, : self.own], affine(context, weight[:, self.own :], bias))

    def forward(self, x: Tensor, temb: Tensor, given: Conditioned) -> Tensor:
        """Return what is predicted (B, D) of x (B, D) with temb (B, time), or (time,) for all."""
        own = torch.cat((x, temb.expand(len(x), -1)), 1)  # (B, D + time)
        return self.net.with_first(own, given.weight, given.share)


class DiffusionPolicy(nn.Module):
    """A denoiser with its schedule and its solver: pi(a | context)."""

    every_level: Tensor
    every_wave: Tensor
    solver_waves: Tensor

    def __init__(
        self, denoiser: Denoiser, diffusion: Diffusion, solver: str = "ddpm", solver_steps: int = 0,
        predicts: str = "noise",
    ) -> None:  # fmt: skip
        super().__init__()
        self.denoiser, self.diffusion = denoiser, diffusion
        self.plan = plan(diffusion.abar, solver, solver_steps, predicts)
        levels = torch.arange(diffusion.steps, dtype=torch.float32)
        self.register_buffer("every_level", levels, persistent=False)
        self.register_buffer("every_wave", denoiser.waves(levels), persistent=False)
        path = torch.tensor(self.plan.levels, dtype=torch.float32)
        self.register_buffer("solver_waves", denoiser.waves(path), persistent=False)
        if predicts == "action":  # in the state, so that no weights are read as what they are not
            self.register_buffer("gives_action", torch.ones(1))

    @property
    def draws(self) -> int:
        """Return how many N(0, I) tensors one sample takes."""
        return self.plan.draws

    def predict(self, x: Tensor, level: Tensor, context: Tensor) -> Tensor:
        """Return eps_hat (B, D) at one level (B,) per row."""
        found = self._found(x, level, context)
        return found if self.plan.predicts == "noise" else self.diffusion.eps_hat(x, level, found)

    def error(self, actions: Tensor, level: Tensor, eps: Tensor, context: Tensor) -> Tensor:
        """Return by how much (B, D) the net misses what it predicts, of actions under noise eps (B, D)."""
        found = self._found(self.diffusion.q_sample(actions, level, eps), level, context)
        return found - (eps if self.plan.predicts == "noise" else actions)

    def _found(self, x: Tensor, level: Tensor, context: Tensor) -> Tensor:
        """Ask the net at one level (B,) per row; temb is computed for K levels, not for B rows."""
        temb = nn.functional.embedding(level, self.denoiser.time_mlp(self.every_wave))  # (B, time)
        return self.denoiser(x, temb, self.denoiser.condition(context))

    def sample(self, context: Tensor, noise: Tensor) -> Tensor:
        """Return actions (B, D) in [-1, 1] from noise (draws, B, D), differentiably; context is (B, ctx)."""
        return self._solved(self.plan, context, noise)

    def fixed_by(self, context: Tensor, noise: Tensor) -> Tensor:
        """Return the actions (B, D) that the first noise (B, D) leads to where none is added on the way."""
        return self._solved(self.plan.without_noise, context, noise[None])

    def _solved(self, plan: Plan, context: Tensor, noise: Tensor) -> Tensor:
        temb = self.denoiser.time_mlp(self.solver_waves)  # (S, time)
        given, net = self.denoiser.condition(context), self.denoiser.net
        if plan.solver in BY_LEVEL and serves(net.style, noise, given.weight):
            return chain(net.style, net.parts(*given), kernel_steps(plan), temb, noise)
        return sample(plan, lambda x, j: self.denoiser(x, temb[j], given), noise)
