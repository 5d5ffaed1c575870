"""Agents of single actions with one Gaussian policy: how they act and value, and a soft policy's losses.

L_pi   = mean temp log pi(a_pi|o) - min_j Q_j(o, a_pi),   a_pi ~ pi
L_temp = temp (entropy - goal)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from trajrl.agents.base.candidates import padded, padded_history
from trajrl.agents.base.learner import AgentConfig, Learner, Metrics, draw_rows, histories
from trajrl.agents.base.protocol import History
from trajrl.nets.ensemble import Critic
from trajrl.nets.gaussian import (
    BoundedGaussian,
    TanhGaussian,
    Temperature,
    log_density,
    normal_density,
    squash,
)
from trajrl.nets.history import HistoryNet
from trajrl.nets.targets import masked_mean
from trajrl.store.window import SequenceBatch

Config = AgentConfig  # all that is read of a config here


class GaussianLearner(Learner):
    """Base of agents that have a Gaussian `actor` and an ensemble `critic`."""

    actor: HistoryNet[Any]  # of a TanhGaussian or a BoundedGaussian
    critic: HistoryNet[Critic]

    @torch.no_grad()
    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Choose actions (V, 1, act): a sample where exploring, else the policy's middle."""
        policy: TanhGaussian | BoundedGaussian = self.actor.head
        mean, log_std = policy(self.context(self.actor.encoder, padded_history(history)))  # (V or more, act)
        noise = padded(draw_rows(rng, self.action_dim, device=self.device)) if explore else None
        return policy.action(mean, log_std, noise)[: len(rng), None]

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the Q of every critic (E, V)."""
        return self.critic.head(self.context(self.critic.encoder, history), actions[:, 0])

    def log_prob(self, history: History, actions: Tensor) -> Tensor:
        """Return the log density (V,) of actions (V, 1, act) under the policy's own distribution."""
        return self.log_densities(history, actions).sum((1, 2))

    def log_densities(self, history: History, actions: Tensor) -> Tensor:
        """Return the same of every number, (V, 1, act)."""
        mean, log_std = self.actor.head(self.context(self.actor.encoder, history))
        density = normal_density if isinstance(self.actor.head, BoundedGaussian) else log_density
        return density(mean, log_std, actions[:, 0])[:, None]

    def drawn(self, history: History, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return a tanh policy's actions (B, M, act) for noise (B, M, act), and log densities (B, M)."""
        mean, log_std = self.actor.head(self.context(self.actor.encoder, history))  # (B, act) both
        action, density = squash(mean[:, None], log_std[:, None], noise)
        return action, density.sum(-1)


class Soft(Protocol):
    """A config with a goal of entropy."""

    @property
    def entropy_goal(self) -> float:
        """Return the entropy per action dimension to hold."""


def soft_actor_loss(
    agent: GaussianLearner, config: Soft, temperature: Temperature, batch: SequenceBatch, noise: Tensor
) -> tuple[Tensor, Tensor, Metrics]:
    """Temp log pi - min Q, and the temperature's own loss; returns both and metrics.

    Args:
        noise: (B, act) N(0, I)
    """
    valid, weight, (here, _) = batch.steps > 0, batch.weight, histories(batch)
    action, log_pi = (part[:, 0] for part in agent.drawn(here, noise[:, None]))  # (B, act), (B,)
    temp = temperature()

    # L_pi: the gradient reaches the policy alone, through the action.
    with torch.no_grad():
        view = agent.context(agent.critic.encoder, here)
    q_loss = -masked_mean(agent.critic.head(view, action).amin(0), valid, weight)
    loss = masked_mean(temp.detach() * log_pi, valid, weight) + q_loss

    # L_temp: raise the temperature while the entropy is below its goal.
    entropy, goal = -log_pi.detach(), config.entropy_goal * agent.action_dim  # (B,), a number
    temp_loss = temp * masked_mean(entropy - goal, valid, weight)
    return loss, temp_loss, {
        "actor/loss": loss, "actor/q_loss": q_loss, "actor/entropy": masked_mean(entropy, valid),
        "actor/temperature": temp,
    }  # fmt: skip
