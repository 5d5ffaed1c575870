"""IQL: values of the data's own actions by expectile regression, and a policy weighted by their advantage.

    L_V  = mean |tau_e - 1[u < 0]| u^2,    u = min_j Q'_j(o, a) - V(o)
    L_pi = -mean min(w_max, exp(beta (min_j Q'_j(o, a) - V(o)))) log pi(a|o)
    y    = R_k + gamma^k (1 - terminated) V(o_{t+k})
    L_Q  = sum_j mean (Q_j(o, a) - y)^2

V steps first, policy and Q then use the new V; no action is ever drawn in training.

Paper: Kostrikov et al. 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.checks import above_zero, at_least_one, not_negative, shares
from trajrl.agents.base.gaussian import GaussianLearner
from trajrl.agents.base.images import ImageConfig
from trajrl.agents.base.learner import BOTH, Metrics, histories, td_report
from trajrl.agents.base.networks import build_encoder
from trajrl.agents.base.protocol import Batches, by_role
from trajrl.agents.presets.iql import PRESETS, preset
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.ensemble import Critic
from trajrl.nets.gaussian import BoundedGaussian, normal_density
from trajrl.nets.history import HistoryNet
from trajrl.nets.mlp import MLP
from trajrl.nets.targets import expectile_loss, follow, masked_mean, td_target
from trajrl.store.window import SequenceBatch, WindowSpec

__all__ = ["IQL", "PRESETS", "Config", "Noise", "preset"]


@dataclass(frozen=True)
class Config(ImageConfig):
    """Defaults are the published ones for locomotion; other task families are in the presets."""

    expectile: float = 0.7  # tau_e; raising it: V nearer the best action of the data, more overestimation
    beta: float = 3.0  # inverse temperature of the advantage; 0: cloning, raising it: fewer actions count
    weight_max: float = 100.0  # w_max, bound of an action's weight; lowering it: closer to cloning
    dropout: float = 0.0  # share of the policy's hidden units left out; raising it: less overfitting
    horizon: int = 1  # rewards before the bootstrap; raising it: values travel faster, with more bias
    history: int = 1  # H, observations seen; above 1 a GRU each of policy, V and Q read them
    history_actions: bool = True  # the GRUs also see the action before each observation
    gru_width: int = 128  # of the history's summary; raising it: remembers more, slower
    gru_layers: int = 1  # raising it: longer patterns, slower
    critics: int = 2  # size of the ensemble; raising it: more cautious values, slower updates
    width: int = 256  # of the networks; raising it: finer, slower
    depth: int = 2  # hidden layers; raising it: finer, slower
    critic_norm: str = "none"  # layer norm in V and Q: none, before or after the activation
    gamma: float = 0.99  # discount per step; raising it looks further ahead
    tau: float = 0.005  # speed of the target critic; raising it: newer targets, less stable
    actor_lr: float = 3e-4  # learning rate of the policy
    critic_lr: float = 3e-4  # learning rate of V and Q
    actor_clip: float = 0.0  # bound on the gradient's norm, 0: none; lowering it: calmer steps
    critic_clip: float = 0.0  # the same for V and for Q
    decay: str = "update"  # the policy's rate over the run: none, or a cosine per update, epoch or as_run
    decay_steps: int = 0  # updates of that cosine; 0: the run's
    normalize_obs: bool = False  # True: observations are centred and scaled by the data's statistics

    def validate(self) -> None:
        """Check what can be checked without data; nets and optimisers check their own."""
        at_least_one(self, "horizon", "history", "critics", "width", "depth")
        shares(self, "expectile", "dropout")
        not_negative(self, "beta")
        above_zero(self, "weight_max")
        self.check_images()
        if self.dropout == 1:
            raise ValueError("dropout 1 leaves nothing of the policy; it must be below 1")

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from."""
        return WindowSpec(self.history, 1, self.horizon)


class Noise(NamedTuple):
    """All the randomness of one update."""

    keep: Tensor  # (B, depth, width) what dropout multiplies by: 0 or 1 / (1 - dropout); depth 0 without it


class IQL(GaussianLearner):
    """Implicit Q-learning."""

    config: Config
    takes_images = True
    roles = BOTH

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        hidden, rng, norm = (config.width,) * config.depth, self.init_rng, config.critic_norm
        actor, value, critic = (
            build_encoder(config, obs_dim, action_dim, rng, config.history, self.images) for _ in range(3)
        )
        size = actor.context_dim
        policy = BoundedGaussian(size, hidden, action_dim, rng, init="orthogonal")
        self.actor = self.part("actor", HistoryNet(actor, policy))
        state_value = MLP(size, hidden, 1, rng, activation="relu", layer_norm=norm, init="orthogonal")
        self.state_value = self.part("state_value", HistoryNet(value, state_value))
        q = Critic(
            config.critics, size + action_dim, hidden, rng,
            activation="relu", layer_norm=norm, init="orthogonal",
        )  # fmt: skip
        self.critic, self.target = self.with_copy("critic", "target", HistoryNet(critic, q))
        rate, clip = config.critic_lr, config.critic_clip
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, self.actor)
        self.value_optimiser = self.adam("value_optimiser", rate, clip, self.state_value, decays=False)
        self.critic_optimiser = self.adam("critic_optimiser", rate, clip, self.critic, decays=False)

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        config = self.config
        layers = config.depth if config.dropout else 0
        drawn = local_rows(torch.rand(whole_rows(len(batch.steps)), layers, config.width, generator=rng))
        return Noise(((drawn >= config.dropout) / (1 - config.dropout)).to(self.device, non_blocking=True))

    @torch.no_grad()
    def data_values(self, batch: SequenceBatch) -> Tensor:
        """Return min_j Q'_j(o, a) of the data's actions, (B,)."""
        view = self.context(self.target.encoder, histories(batch)[0])
        return self.target.head(view, self.flat_actions(batch)).amin(0)

    def advantage(self, batch: SequenceBatch, q: Tensor) -> Tensor:
        """Return u = q - V(o), (B,), of q = min_j Q'_j(o, a); its gradient reaches V alone."""
        here, _ = histories(batch)
        return q - self.state_value.head(self.context(self.state_value.encoder, here))[:, 0]

    def value_loss(self, batch: SequenceBatch, q: Tensor | None = None) -> tuple[Tensor, Metrics]:
        """Expectile regression of V on q, the `data_values`, if at hand; returns (loss, metrics)."""
        q = self.data_values(batch) if q is None else q
        valid, u = batch.steps > 0, self.advantage(batch, q)  # (B,)
        loss = masked_mean(expectile_loss(u, self.config.expectile), valid, batch.weight)
        return loss, {"value/loss": loss, "value/advantage": masked_mean(u, valid)}

    def actor_loss(
        self, batch: SequenceBatch, noise: Noise, q: Tensor | None = None
    ) -> tuple[Tensor, Metrics]:
        """Log likelihood of the data's actions, weighted by q - V; returns (loss, metrics)."""
        q = self.data_values(batch) if q is None else q
        config, valid, (here, _) = self.config, batch.steps > 0, histories(batch)
        with torch.no_grad():
            raw = (config.beta * self.advantage(batch, q)).exp()  # (B,)
            weight = raw.clamp(max=config.weight_max)
        context = self.context(self.actor.encoder, here)
        mean, log_std = self.actor.head(context, noise.keep if config.dropout else None)  # (B, act), (act,)
        log_pi = normal_density(mean, log_std, self.flat_actions(batch)).sum(-1)  # (B,)
        loss = -masked_mean(weight * log_pi, valid, batch.weight)
        return loss, {
            "actor/loss": loss, "actor/bc_loss": -masked_mean(log_pi, valid),
            "actor/weight_mean": masked_mean(weight, valid), "actor/std": log_std.exp().mean(),
            "actor/saturated_share": masked_mean((raw > config.weight_max).float(), valid),
        }  # fmt: skip

    def critic_loss(self, batch: SequenceBatch) -> tuple[Tensor, Tensor, Metrics]:
        """Squared TD error of every critic; returns (loss, absolute TD error (B,), metrics)."""
        valid, (here, there) = batch.steps > 0, histories(batch)
        q = self.critic.head(self.context(self.critic.encoder, here), self.flat_actions(batch))  # (E, B)
        with torch.no_grad():
            value = self.state_value.head(self.context(self.state_value.encoder, there))[:, 0]  # (B,)
            y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, value, self.config.gamma)
        loss = masked_mean((q - y).square().sum(0), valid, batch.weight)
        return loss, *td_report(loss, q, y, valid)

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """Take one step of V, the policy and Q, in this order, then move the target."""
        policy, values = by_role(batch)
        q = self.data_values(values)
        value_loss, value_metrics = self.value_loss(values, q)
        value_norm = self.value_optimiser.step(value_loss)
        q = q if policy is values else self.data_values(policy)
        actor_loss, actor_metrics = self.actor_loss(policy, noise, q)
        actor_norm = self.actor_optimiser.step(actor_loss)
        critic_loss, td_error, critic_metrics = self.critic_loss(values)
        critic_norm = self.critic_optimiser.step(critic_loss)
        follow(self.target.parameters(), self.critic.parameters(), self.config.tau)
        norms = {
            "value/grad_norm": value_norm,
            "actor/grad_norm": actor_norm,
            "critic/grad_norm": critic_norm,
        }
        return {**value_metrics, **actor_metrics, **critic_metrics, **norms}, td_error
