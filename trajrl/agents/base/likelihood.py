"""How likely an agent's policy makes the data's actions, in nats per number of the action.

Of a diffusion policy it is a lower bound (nets/likelihood_bound.py), of the chain before the critic chooses
among candidates; of a Gaussian policy it is exact.  Other policies have none.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from trajrl.agents.base.learner import histories
from trajrl.agents.base.protocol import History
from trajrl.nets.denoiser import DiffusionPolicy
from trajrl.nets.likelihood_bound import likelihood_bound
from trajrl.store.window import SequenceBatch


@runtime_checkable
class HasChain(Protocol):
    """An agent that acts by a diffusion policy."""

    def acting_chain(self, history: History) -> tuple[DiffusionPolicy, Tensor]:
        """Return the policy that acts, and its context (V, ctx)."""

    def flat_actions(self, batch: SequenceBatch) -> Tensor:
        """Return the data's actions (B, D), zero where there are none."""


@runtime_checkable
class HasDensity(Protocol):
    """An agent whose policy has a density."""

    def log_densities(self, history: History, actions: Tensor) -> Tensor:
        """Return the log density of every number of actions (V, N, act), in that shape."""


@torch.no_grad()
def log_likelihood(agent: Any, batch: SequenceBatch, rng: torch.Generator) -> Tensor | None:
    """Return the mean over each row's real numbers (B,), NaN where there are none; None without a likelihood.

    Args:
        rng: on the CPU; the bound's levels and noise
    """
    here, real = histories(batch)[0], batch.action_mask[..., None].expand_as(batch.actions)  # (B, N, act)
    if isinstance(agent, HasChain):
        policy, context = agent.acting_chain(here)
        return likelihood_bound(policy, context, agent.flat_actions(batch), real.flatten(1), rng)
    if not isinstance(agent, HasDensity):
        return None
    found = torch.where(real, agent.log_densities(here, batch.actions), 0.0)
    return found.sum((1, 2)) / real.sum((1, 2))
