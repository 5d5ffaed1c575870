"""AWAC: a policy weighted by the advantage of the data's actions over its own, and its critics.

    y    = R_k + gamma^k (1 - terminated) min_j Q'_j(o_{t+k}, a'),    a' ~ pi
    L_Q  = sum_j mean (Q_j(o, a) - y)^2
    L_pi = -mean min(w_max, exp((min_j Q_j(o, a) - min_j Q_j(o, a_pi)) / lambda)) log pi(a|o),   a_pi ~ pi

Paper: Nair et al. 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.checks import above_zero, at_least_one
from trajrl.agents.base.gaussian import GaussianLearner
from trajrl.agents.base.learner import BOTH, Metrics, histories, td_report
from trajrl.agents.base.networks import build_encoder
from trajrl.agents.base.protocol import Batches, History, by_role
from trajrl.agents.presets.awac import PRESETS, preset
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.ensemble import Critic
from trajrl.nets.gaussian import BoundedGaussian, normal_density
from trajrl.nets.history import HistoryNet
from trajrl.nets.targets import follow, masked_mean, td_target
from trajrl.store.window import SequenceBatch, WindowSpec

__all__ = ["AWAC", "PRESETS", "Config", "Noise", "preset"]


@dataclass(frozen=True)
class Config:
    """Defaults are those of the public code; task families are in the presets."""

    temperature: float = 1.0  # lambda of the advantage, in units of Q; raising it: closer to cloning
    weight_max: float = 100.0  # w_max, bound of an action's weight; lowering it: closer to cloning
    horizon: int = 1  # rewards before the bootstrap; raising it: values travel faster, with more bias
    history: int = 1  # H, observations seen; above 1 a GRU of the actor and one of the critic read them
    history_actions: bool = True  # the GRUs also see the action before each observation
    gru_width: int = 128  # of the history's summary; raising it: remembers more, slower
    gru_layers: int = 1  # raising it: longer patterns, slower
    critics: int = 2  # size of the ensemble; raising it: more cautious values, slower updates
    width: int = 256  # of the networks; raising it: finer, slower
    depth: int = 3  # hidden layers; raising it: finer, slower
    critic_norm: str = "none"  # layer norm in the critic: none, before or after the activation
    gamma: float = 0.99  # discount per step; raising it looks further ahead
    tau: float = 0.005  # speed of the target critic; raising it: newer targets, less stable
    actor_lr: float = 3e-4  # learning rate of the policy
    critic_lr: float = 3e-4  # learning rate of the critics
    actor_clip: float = 0.0  # bound on the gradient's norm, 0: none; lowering it: calmer steps
    critic_clip: float = 0.0  # the same for the critics
    decay: str = "none"  # learning rates over the run: none, or a cosine per update, epoch or as_run
    decay_steps: int = 0  # updates of that cosine; 0: the run's
    normalize_obs: bool = False  # True: observations are centred and scaled by the data's statistics

    def validate(self) -> None:
        """Check what can be checked without data; nets and optimisers check their own."""
        at_least_one(self, "horizon", "history", "critics", "width", "depth")
        above_zero(self, "temperature", "weight_max")

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from."""
        return WindowSpec(self.history, 1, self.horizon)


class Noise(NamedTuple):
    """All the randomness of one update."""

    next: Tensor  # (B, act) N(0, I), of the action at the bootstrap
    policy: Tensor  # (B, act) N(0, I), of the action that the data's is compared with


class AWAC(GaussianLearner):
    """Advantage-weighted actor-critic."""

    config: Config
    roles = BOTH

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        rng, hidden = self.init_rng, (config.width,) * config.depth
        encoder = build_encoder(config, obs_dim, action_dim, rng, config.history)
        policy = BoundedGaussian(encoder.context_dim, hidden, action_dim, rng)
        self.actor = self.part("actor", HistoryNet(encoder, policy))
        encoder = build_encoder(config, obs_dim, action_dim, rng, config.history)
        critic = Critic(
            config.critics, encoder.context_dim + action_dim, hidden, rng,
            activation="relu", layer_norm=config.critic_norm,
        )  # fmt: skip
        self.critic, self.target = self.with_copy("critic", "target", HistoryNet(encoder, critic))
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, self.actor)
        rate = config.critic_lr, config.critic_clip
        self.critic_optimiser = self.adam("critic_optimiser", *rate, self.critic)

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        shape = whole_rows(len(batch.steps)), self.action_dim
        drawn = [local_rows(torch.randn(shape, generator=rng)) for _ in Noise._fields]
        return Noise(*(part.to(self.device, non_blocking=True) for part in drawn))

    def critic_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """Squared TD error of every critic; returns (loss, absolute TD error (B,), metrics)."""
        valid, (here, there) = batch.steps > 0, histories(batch)
        q = self.critic.head(self.context(self.critic.encoder, here), self.flat_actions(batch))  # (E, B)
        with torch.no_grad():
            action = self.sampled(there, noise.next)  # (B, act)
            value = self.target.head(self.context(self.target.encoder, there), action).amin(0)  # (B,)
            y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, value, self.config.gamma)
        loss = masked_mean((q - y).square().sum(0), valid, batch.weight)
        return loss, *td_report(loss, q, y, valid)

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Advantage-weighted log likelihood of the data's actions; returns (loss, metrics)."""
        config, valid, (here, _) = self.config, batch.steps > 0, histories(batch)
        data = self.flat_actions(batch)  # (B, act)
        with torch.no_grad():
            view = self.context(self.critic.encoder, here)
            advantage = self.critic.head(view, data).amin(0)  # (B,)
            advantage = advantage - self.critic.head(view, self.sampled(here, noise.policy)).amin(0)
            raw = (advantage / config.temperature).exp()
            weight = raw.clamp(max=config.weight_max)
        mean, log_std = self.actor.head(self.context(self.actor.encoder, here))  # (B, act), (act,)
        log_pi = normal_density(mean, log_std, data).sum(-1)  # (B,)
        loss = -masked_mean(weight * log_pi, valid, batch.weight)
        return loss, {
            "actor/loss": loss, "actor/bc_loss": -masked_mean(log_pi, valid),
            "actor/advantage": masked_mean(advantage, valid), "actor/weight_mean": masked_mean(weight, valid),
            "actor/saturated_share": masked_mean((raw > config.weight_max).float(), valid),
        }  # fmt: skip

    def sampled(self, history: History, noise: Tensor) -> Tensor:
        """Return the policy's actions (B, act), cut to the box, from noise (B, act)."""
        return self.actor.head.action(*self.actor.head(self.context(self.actor.encoder, history)), noise)

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """Take one step of the critics, then of the policy, which sees the new critics."""
        policy, values = by_role(batch)
        critic_loss, td_error, critic_metrics = self.critic_loss(values, noise)
        critic_norm = self.critic_optimiser.step(critic_loss)
        actor_loss, actor_metrics = self.actor_loss(policy, noise)
        actor_norm = self.actor_optimiser.step(actor_loss)
        follow(self.target.parameters(), self.critic.parameters(), self.config.tau)
        norms = {"critic/grad_norm": critic_norm, "actor/grad_norm": actor_norm}
        return {**critic_metrics, **actor_metrics, **norms}, td_error
