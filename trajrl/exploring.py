"""Exploring: who collects online, and how much chance is added to the actions.

a = clip(policy(history) + N(0, deviation), -1, 1)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trajrl.agents.base.protocol import History
from trajrl.config import RunConfig
from trajrl.envs.policies import RandomPolicy
from trajrl.queues import Actor


class Noisy:
    """An actor whose every action carries noise; each row draws from its own generator."""

    def __init__(self, actor: Actor, deviation: float) -> None:
        self.actor, self.deviation = actor, deviation
        self.spec, self.action_dim = actor.spec, actor.action_dim

    @property
    def device(self) -> torch.device:
        """Return where histories must lie."""
        return self.actor.device

    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> torch.Tensor:
        """Choose a chunk (V, N, act) and add noise to all of it."""
        chunk = self.actor.act(history, rng, explore)
        noise = torch.stack([torch.randn(chunk.shape[1:], generator=row) for row in rng])
        return (chunk + self.deviation * noise.to(chunk.device)).clamp(-1, 1)


def collecting_actor(agent: Actor, config: RunConfig, env_step: int) -> Actor:
    """Return who acts at an environment step: random actions before learning if asked, else the agent."""
    if config.begin_with == "random" and env_step < config.learn_after:
        return RandomPolicy(agent.action_dim)
    return Noisy(agent, config.explore_noise) if config.explore_noise else agent
