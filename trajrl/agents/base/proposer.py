"""What proposes an agent's actions: its diffusion chain, or the one-step student of that chain."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from trajrl.agents.base.protocol import Agent, History
from trajrl.nets.denoiser import DiffusionPolicy
from trajrl.nets.one_step import OneStep, Proposer


class ActsByChain(Protocol):
    """What is read to propose actions."""

    student: OneStep | None  # None: the chain itself proposes

    def acting_chain(self, history: History) -> tuple[DiffusionPolicy, Tensor]:
        """Return the policy that acts, and its context (V, ctx)."""


@runtime_checkable
class ChainAgent(Agent, ActsByChain, Protocol):
    """An agent that acts by a diffusion policy."""

    obs_dim: int
    images: dict[str, tuple[int, ...]]

    def act_by(self, student: OneStep | None) -> None:
        """Let a student propose actions from now on; None: the chain again."""


def proposer(agent: ActsByChain, history: History) -> tuple[Proposer, Tensor]:
    """Return what proposes the agent's actions, and its context (V, ctx) of a history."""
    chain, context = agent.acting_chain(history)
    return agent.student or chain, context


def no_history(agent: ChainAgent) -> History:
    """Return the history of one environment that has shown an observation of zeros."""
    size = (1, agent.spec.history)
    mask = torch.zeros(size, dtype=torch.bool)
    mask[:, -1] = True
    obs, actions = torch.zeros(*size, agent.obs_dim), torch.zeros(*size, agent.action_dim)
    images = tuple(torch.zeros(*size, *shape, dtype=torch.uint8) for shape in agent.images.values())
    return History(obs, actions, mask, images).each(lambda part: part.to(agent.device))
