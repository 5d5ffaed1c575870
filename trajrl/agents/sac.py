"""SAC: soft actor-critic with twin critics and a temperature that is learned.

    y      = R_k + gamma^k (1 - terminated) (min_j Q'_j(o_{t+k}, a') - temp log pi(a'|o_{t+k}))
    L_Q    = sum_j mean (Q_j(o, a) - y)^2
    L_pi   = mean temp log pi(a|o) - min_j Q_j(o, a)
    L_temp = temp (entropy - goal)

Paper: Haarnoja et al. 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.checks import above_zero, at_least_one
from trajrl.agents.base.gaussian import GaussianLearner, soft_actor_loss
from trajrl.agents.base.learner import BOTH, Metrics, histories, td_report
from trajrl.agents.base.networks import build_encoder
from trajrl.agents.base.protocol import Batches, by_role
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.ensemble import Critic
from trajrl.nets.gaussian import TanhGaussian, Temperature
from trajrl.nets.history import HistoryNet
from trajrl.nets.targets import copy_of, follow, masked_mean, td_target
from trajrl.store.window import SequenceBatch, WindowSpec


@dataclass(frozen=True)
class Config:
    """Defaults are the published ones."""

    horizon: int = 1  # rewards before the bootstrap; raising it: values travel faster, with more bias
    history: int = 1  # H, observations seen; above 1 a GRU of the actor and one of the critic read them
    history_actions: bool = True  # the GRUs also see the action before each observation
    gru_width: int = 128  # of the history's summary; raising it: remembers more, slower
    gru_layers: int = 1  # raising it: longer patterns, slower
    critics: int = 2  # size of the ensemble; raising it: more cautious values, slower updates
    width: int = 256  # of the networks; raising it: finer, slower
    depth: int = 2  # hidden layers; raising it: finer, slower
    critic_norm: str = "none"  # layer norm in the critic; "before" steadies many updates per step
    entropy_goal: float = -1.0  # entropy per action dimension to hold; raising it: more random actions
    temperature: float = (
        1.0  # where the learned weight of the entropy starts; raising it: more random at first
    )
    gamma: float = 0.99  # discount per step; raising it looks further ahead
    tau: float = 0.005  # speed of the target critic; raising it: newer targets, less stable
    actor_lr: float = 3e-4  # learning rate of the policy and of the temperature
    critic_lr: float = 3e-4  # learning rate of the critic
    actor_clip: float = 0.0  # bound on the gradient's norm, 0: none; lowering it: calmer steps
    critic_clip: float = 0.0  # the same for the critic
    decay: str = "none"  # learning rates over the run: none, or a cosine per update, epoch or as_run
    decay_steps: int = 0  # updates of that cosine; 0: the run's
    normalize_obs: bool = False  # True: observations are centred and scaled by the data's statistics

    def validate(self) -> None:
        """Check what can be checked without data; nets and optimisers check their own."""
        at_least_one(self, "horizon", "history", "critics", "width", "depth")
        above_zero(self, "temperature")

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from."""
        return WindowSpec(self.history, 1, self.horizon)

    @property
    def clones(self) -> bool:
        """Say that no loss says how well the data is imitated."""
        return False


PRESETS: dict[str, dict[str, Any]] = {"demo": {}, "paper": {}, "standard": {}}


class Noise(NamedTuple):
    """All the randomness of one update."""

    next: Tensor  # (B, act) of the action at the bootstrap
    policy: Tensor  # (B, act) of the action in the actor's loss


class SAC(GaussianLearner):
    """Soft actor-critic."""

    config: Config
    roles = BOTH

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        rng = self.init_rng
        hidden = (config.width,) * config.depth
        encoder = build_encoder(config, obs_dim, action_dim, rng, config.history)
        actor = TanhGaussian(encoder.context_dim, hidden, action_dim, rng)
        self.actor = self.part("actor", HistoryNet(encoder, actor))
        encoder = build_encoder(config, obs_dim, action_dim, rng, config.history)
        critic = Critic(
            config.critics, encoder.context_dim + action_dim, hidden, rng,
            activation="relu", init="xavier", layer_norm=config.critic_norm,
        )  # fmt: skip
        self.critic = self.part("critic", HistoryNet(encoder, critic))
        self.target = self.part("target", copy_of(self.critic))
        self.temperature = self.part("temperature", Temperature(config.temperature))
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, self.actor)
        self.critic_optimiser = self.adam(
            "critic_optimiser", config.critic_lr, config.critic_clip, self.critic
        )
        rate = config.actor_lr, 0.0
        self.temperature_optimiser = self.adam("temperature_optimiser", *rate, self.temperature)

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        shape = whole_rows(len(batch.steps)), self.action_dim
        draw = [local_rows(torch.randn(shape, generator=rng)) for _ in Noise._fields]
        return Noise(*(part.to(self.device, non_blocking=True) for part in draw))

    def critic_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """Squared TD error of every critic; returns (loss, absolute TD error (B,), metrics)."""
        valid, (here, there) = batch.steps > 0, histories(batch)  # (B,)
        q = self.critic.head(self.context(self.critic.encoder, here), self.flat_actions(batch))  # (E, B)

        # Bootstrap at o_{t+k}: the soft value of the online policy under the target critics.
        with torch.no_grad():
            action, log_pi = (part[:, 0] for part in self.drawn(there, noise.next[:, None]))  # (B, act), (B,)
            value = self.target.head(self.context(self.target.encoder, there), action).amin(0)  # (B,)
            value = value - self.temperature() * log_pi
            y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, value, self.config.gamma)

        loss = masked_mean((q - y).square().sum(0), valid, batch.weight)
        return loss, *td_report(loss, q, y, valid)

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """Temp log pi - min Q, and the temperature's own loss; returns both and metrics."""
        return soft_actor_loss(self, self.config, self.temperature, batch, noise.policy)

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """Take one step of critic, actor and temperature, in this order."""
        policy, values = by_role(batch)
        critic_loss, td_error, metrics = self.critic_loss(values, noise)
        critic_norm = self.critic_optimiser.step(critic_loss)
        actor_loss, temp_loss, more = self.actor_loss(policy, noise)
        actor_norm = self.actor_optimiser.step(actor_loss)
        self.temperature_optimiser.step(temp_loss)
        follow(self.target.parameters(), self.critic.parameters(), self.config.tau)
        norms = {"critic/grad_norm": critic_norm, "actor/grad_norm": actor_norm}
        return {**metrics, **more, **norms}, td_error
