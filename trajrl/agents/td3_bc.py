"""TD3+BC: twin delayed critics, a deterministic policy, and one behaviour-cloning term.

    y    = R_k + gamma^k (1 - terminated) min_j Q'_j(o_{t+k}, clip(pi'(o_{t+k}) + clip(sigma n, -c, c)))
    L_Q  = sum_j mean (Q_j(o, a) - y)^2
    L_pi = -lambda mean Q_1(o, pi(o)) + mean (pi(o) - a)^2,    lambda = alpha / mean |Q_1|

Paper: Fujimoto and Gu 2021.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.candidates import padded
from trajrl.agents.base.images import ImageConfig
from trajrl.agents.base.learner import BOTH, Learner, Metrics, draw_rows, histories, td_report
from trajrl.agents.base.networks import build_encoder
from trajrl.agents.base.protocol import Batches, History, by_role
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.ensemble import Critic
from trajrl.nets.history import HistoryNet
from trajrl.nets.mlp import MLP
from trajrl.nets.targets import copy_of, follow, masked_mean, td_target
from trajrl.store.window import SequenceBatch, WindowSpec

SMALLEST_Q = 1e-6  # floor of mean |Q| where it divides


@dataclass(frozen=True)
class Config(ImageConfig):
    """Defaults are the published ones, but for normalize_obs, which needs the data's statistics."""

    alpha: float = 2.5  # weight of Q against cloning; raising it: further from the data
    critics: int = 2  # size of the ensemble; raising it: more cautious values, slower updates
    policy_delay: int = 2  # critic steps per actor step; raising it: the actor follows a better critic
    target_noise: float = 0.2  # sigma, noise on the target's action; raising it: smoother values
    noise_clip: float = 0.5  # c, bound of that noise
    explore_noise: float = 0.1  # deviation of the noise added while exploring; raising it: bolder
    horizon: int = 1  # rewards before the bootstrap; raising it: values travel faster, with more bias
    history: int = 1  # H, observations seen; above 1 a GRU of the actor and one of the critic read them
    history_actions: bool = True  # the GRUs also see the action before each observation
    gru_width: int = 128  # of the history's summary; raising it: remembers more, slower
    gru_layers: int = 1  # raising it: longer patterns, slower
    width: int = 256  # of the networks; raising it: finer, slower
    depth: int = 2  # hidden layers; raising it: finer, slower
    critic_norm: str = "none"  # layer norm in the critic; "before" steadies many updates per step
    gamma: float = 0.99  # discount per step; raising it looks further ahead
    tau: float = 0.005  # speed of the targets; raising it: newer targets, less stable
    actor_lr: float = 3e-4  # learning rate of the policy
    critic_lr: float = 3e-4  # learning rate of the critics
    actor_clip: float = 0.0  # bound on the gradient's norm, 0: none; lowering it: calmer steps
    critic_clip: float = 0.0  # the same for the critic
    decay: str = "none"  # learning rates over the run: none, or a cosine per update, epoch or as_run
    decay_steps: int = 0  # updates of that cosine; 0: the run's
    normalize_obs: bool = False  # True: observations are centred and scaled by the data's statistics

    def validate(self) -> None:
        """Check what can be checked without data; nets and optimisers check their own."""
        for name in ("critics", "policy_delay", "horizon", "history", "width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        for name in ("alpha", "target_noise", "noise_clip", "explore_noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}")
        self.check_images()

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from."""
        return WindowSpec(self.history, 1, self.horizon)


PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"normalize_obs": True},
    "paper": {"normalize_obs": True},
    "standard": {"normalize_obs": True},
}


class Noise(NamedTuple):
    """All the randomness of one update."""

    next: Tensor  # (B, act) N(0, I), on the target's action


class TD3BC(Learner):
    """TD3 with behaviour cloning."""

    config: Config
    takes_images = True
    roles = BOTH

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        rng = self.init_rng
        hidden = (config.width,) * config.depth
        encoder = build_encoder(config, obs_dim, action_dim, rng, config.history, self.images)
        actor = MLP(encoder.context_dim, hidden, action_dim, rng, activation="relu")
        self.actor = self.part("actor", HistoryNet(encoder, actor))
        encoder = build_encoder(config, obs_dim, action_dim, rng, config.history, self.images)
        critic = Critic(
            config.critics, encoder.context_dim + action_dim, hidden, rng,
            activation="relu", layer_norm=config.critic_norm,
        )  # fmt: skip
        self.critic = self.part("critic", HistoryNet(encoder, critic))
        self.target_actor = self.part("target_actor", copy_of(self.actor))
        self.target = self.part("target", copy_of(self.critic))
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, self.actor)
        self.critic_optimiser = self.adam(
            "critic_optimiser", config.critic_lr, config.critic_clip, self.critic
        )

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        draw = local_rows(torch.randn(whole_rows(len(batch.steps)), self.action_dim, generator=rng))
        return Noise(draw.to(self.device, non_blocking=True))

    def critic_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """Squared TD error of both critics; returns (loss, absolute TD error (B,), metrics)."""
        config, valid, (here, there) = self.config, batch.steps > 0, histories(batch)
        q = self.critic.head(self.context(self.critic.encoder, here), self.flat_actions(batch))  # (E, B)

        # Bootstrap at o_{t+k}: the target actor's action, blurred, under the lower target critic.
        with torch.no_grad():
            blur = (config.target_noise * noise.next).clamp(-config.noise_clip, config.noise_clip)
            action = self.target_actor.head(self.context(self.target_actor.encoder, there)).tanh()  # (B, act)
            view = self.context(self.target.encoder, there)
            value = self.target.head(view, (action + blur).clamp(-1, 1)).amin(0)  # (B,)
            y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, value, config.gamma)

        loss = masked_mean((q - y).square().sum(0), valid, batch.weight)
        return loss, *td_report(loss, q, y, valid)

    def actor_loss(self, batch: SequenceBatch) -> tuple[Tensor, Metrics]:
        """-lambda Q_1 plus the squared distance to the data's action; returns (loss, metrics)."""
        valid, weight, (here, _) = batch.steps > 0, batch.weight, histories(batch)
        action = self.actor.head(self.context(self.actor.encoder, here)).tanh()  # (B, act)

        # Q term: the first critic, scaled by its own mean size.  The optimiser gives the critics no gradient.
        with torch.no_grad():
            view = self.context(self.critic.encoder, here)
        first = torch.zeros(1, dtype=torch.int64, device=self.device)
        q = self.critic.head(view, action, first)[0]  # (B,)
        scale = self.config.alpha / masked_mean(q.detach().abs(), valid, weight).clamp(min=SMALLEST_Q)
        q_loss = -scale * masked_mean(q, valid, weight)

        # Cloning term.
        bc_loss = masked_mean((action - self.flat_actions(batch)).square(), valid[:, None], weight[:, None])
        loss = q_loss + bc_loss
        return loss, {"actor/loss": loss, "actor/q_loss": q_loss, "actor/bc_loss": bc_loss}

    def stage(self) -> Hashable:
        """Return whether actor and targets move at the next update."""
        return self.updates % self.config.policy_delay == 0

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """One critic step; at the first and every policy_delay-th after it the actor and the targets move."""
        policy, values = by_role(batch)
        critic_loss, td_error, metrics = self.critic_loss(values, noise)
        metrics["critic/grad_norm"] = self.critic_optimiser.step(critic_loss)
        if self.stage():
            actor_loss, more = self.actor_loss(policy)
            metrics |= {**more, "actor/grad_norm": self.actor_optimiser.step(actor_loss)}
            follow(self.target.parameters(), self.critic.parameters(), self.config.tau)
            follow(self.target_actor.parameters(), self.actor.parameters(), self.config.tau)
        return metrics, td_error

    @torch.no_grad()
    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Choose actions (V, 1, act); exploring adds Gaussian noise."""
        context = self.context(self.actor.encoder, history.each(padded))
        action = self.actor.head(context).tanh()[: len(rng)]  # (V, act)
        if explore:
            noise = draw_rows(rng, self.action_dim, device=self.device)  # (V, act)
            action = (action + self.config.explore_noise * noise).clamp(-1, 1)
        return action[:, None]

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the Q of every critic (E, V)."""
        return self.critic.head(self.context(self.critic.encoder, history), actions[:, 0])
