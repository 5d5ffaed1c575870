"""IFQL: a flow clones the data, expectile regression values its actions, the best of several samples acts.

    L_V    = mean |tau_e - 1[u < 0]| u^2,    u = min_j Q'_j(o, a) - V(o)
    y      = R_k + gamma^k (1 - terminated) V(o_{t+k})
    L_Q    = sum_j mean (Q_j(o, a) - y)^2
    L_flow = mean |v(o, x_u, u) - (a - x_0)|^2
    act    = argmax_m min_j Q_j(o, a_m),    a_1 .. a_M from the flow

IDQL with a flow for its diffusion.

Paper: Hansen-Estruch et al. 2023 (IDQL); Park et al. 2025 (FQL).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.candidates import padded, repeated
from trajrl.agents.base.checks import at_least_one, shares
from trajrl.agents.base.learner import BOTH, Learner, Metrics, draw_rows, histories, td_report
from trajrl.agents.base.networks import build_encoder
from trajrl.agents.base.protocol import Batches, History, by_role
from trajrl.agents.presets.ifql import PRESETS, preset
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.ensemble import Critic
from trajrl.nets.flow import VelocityField, straight_path
from trajrl.nets.history import HistoryNet
from trajrl.nets.mlp import MLP
from trajrl.nets.targets import expectile_loss, follow, masked_mean, td_target
from trajrl.store.window import SequenceBatch, WindowSpec

__all__ = ["IFQL", "PRESETS", "Config", "Noise", "preset"]


@dataclass(frozen=True)
class Config:
    """Defaults are the published ones of the flow Q-learning benchmark."""

    expectile: float = 0.9  # tau_e; raising it: V nearer the best action of the data, more overestimation
    samples: int = 32  # candidates to act by; raising it trusts the critic more and costs time
    flow_steps: int = 10  # Euler steps of the flow; raising it: truer samples, slower acting
    horizon: int = 1  # rewards before the bootstrap; raising it: values travel faster, with more bias
    history: int = 1  # H, observations seen; above 1 a GRU each of policy, V and Q read them
    history_actions: bool = True  # the GRUs also see the action before each observation
    gru_width: int = 128  # of the history's summary; raising it: remembers more, slower
    gru_layers: int = 1  # raising it: longer patterns, slower
    critics: int = 2  # size of the ensemble; raising it: more cautious values, slower updates
    width: int = 512  # of the networks; raising it: finer, slower
    depth: int = 4  # hidden layers; raising it: finer, slower
    actor_norm: str = "none"  # layer norm in the policy: none, before or after the activation
    critic_norm: str = "after"  # layer norm in V and Q; it steadies values of unseen actions
    gamma: float = 0.99  # discount per step; raising it looks further ahead
    tau: float = 0.005  # speed of the target critic; raising it: newer targets, less stable
    actor_lr: float = 3e-4  # learning rate of the policy
    critic_lr: float = 3e-4  # learning rate of V and Q
    actor_clip: float = 0.0  # bound on the gradient's norm, 0: none; lowering it: calmer steps
    critic_clip: float = 0.0  # the same for V and for Q
    decay: str = "none"  # learning rates over the run: none, or a cosine per update, epoch or as_run
    decay_steps: int = 0  # updates of that cosine; 0: the run's
    normalize_obs: bool = False  # True: observations are centred and scaled by the data's statistics

    def validate(self) -> None:
        """Check what can be checked without data; nets and optimisers check their own."""
        at_least_one(self, "samples", "flow_steps", "horizon", "history", "critics", "width", "depth")
        shares(self, "expectile")

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from."""
        return WindowSpec(self.history, 1, self.horizon)


class Noise(NamedTuple):
    """All the randomness of one update."""

    flow: Tensor  # (B, act) where the paths of the flow loss start
    time: Tensor  # (B, 1) in [0, 1)


class IFQL(Learner):
    """Implicit flow Q-learning."""

    config: Config
    roles = BOTH

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        hidden, rng = (config.width,) * config.depth, self.init_rng
        actor, value, critic = (
            build_encoder(config, obs_dim, action_dim, rng, config.history) for _ in range(3)
        )
        size = actor.context_dim
        common: dict[str, Any] = {
            "activation": "gelu", "init": "xavier", "layer_norm": config.critic_norm, "norm_eps": 1e-6,
        }  # fmt: skip
        flow = VelocityField(size, action_dim, hidden, rng, layer_norm=config.actor_norm)
        self.actor = self.part("actor", HistoryNet(actor, flow))
        state_value = MLP(size, hidden, 1, rng, **common)
        self.state_value = self.part("state_value", HistoryNet(value, state_value))
        q = Critic(config.critics, size + action_dim, hidden, rng, **common)
        self.critic, self.target = self.with_copy("critic", "target", HistoryNet(critic, q))
        rate = config.critic_lr, config.critic_clip
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, self.actor)
        self.value_optimiser = self.adam("value_optimiser", *rate, self.state_value)
        self.critic_optimiser = self.adam("critic_optimiser", *rate, self.critic)

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        rows = whole_rows(len(batch.steps))
        noise = Noise(
            flow=local_rows(torch.randn(rows, self.action_dim, generator=rng)),
            time=local_rows(torch.rand(rows, 1, generator=rng)),
        )
        return Noise(*(part.to(self.device, non_blocking=True) for part in noise))

    def value_loss(self, batch: SequenceBatch) -> tuple[Tensor, Metrics]:
        """Expectile regression of V on the target critics; returns (loss, metrics)."""
        valid, (here, _) = batch.steps > 0, histories(batch)
        with torch.no_grad():
            view = self.context(self.target.encoder, here)
            q = self.target.head(view, self.flat_actions(batch)).amin(0)  # (B,)
        u = q - self.state_value.head(self.context(self.state_value.encoder, here))[:, 0]  # (B,)
        loss = masked_mean(expectile_loss(u, self.config.expectile), valid, batch.weight)
        return loss, {"value/loss": loss, "value/advantage": masked_mean(u, valid)}

    def critic_loss(self, batch: SequenceBatch) -> tuple[Tensor, Tensor, Metrics]:
        """Squared TD error of every critic; returns (loss, absolute TD error (B,), metrics)."""
        valid, (here, there) = batch.steps > 0, histories(batch)
        q = self.critic.head(self.context(self.critic.encoder, here), self.flat_actions(batch))  # (E, B)
        with torch.no_grad():
            value = self.state_value.head(self.context(self.state_value.encoder, there))[:, 0]  # (B,)
            y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, value, self.config.gamma)
        loss = masked_mean((q - y).square().sum(0), valid, batch.weight)
        return loss, *td_report(loss, q, y, valid)

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Metrics]:
        """The velocity along straight paths from noise to the data's action; returns (loss, metrics)."""
        valid, (here, _) = batch.steps > 0, histories(batch)
        context = self.context(self.actor.encoder, here)  # (B, ctx)
        point, velocity = straight_path(self.flat_actions(batch), noise.flow, noise.time)  # (B, act) both
        error = (self.actor.head(context, point, noise.time) - velocity).square()  # (B, act)
        loss = masked_mean(error, valid[:, None], batch.weight[:, None])
        return loss, {"actor/loss": loss, "actor/bc_loss": loss}

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """One step of V, Q and the flow, from losses that see the networks as they were before it."""
        policy, values = by_role(batch)
        value_loss, value_metrics = self.value_loss(values)
        critic_loss, td_error, critic_metrics = self.critic_loss(values)
        actor_loss, actor_metrics = self.actor_loss(policy, noise)
        value_norm = self.value_optimiser.step(value_loss)
        critic_norm = self.critic_optimiser.step(critic_loss)
        actor_norm = self.actor_optimiser.step(actor_loss)
        follow(self.target.parameters(), self.critic.parameters(), self.config.tau)
        norms = {
            "value/grad_norm": value_norm,
            "critic/grad_norm": critic_norm,
            "actor/grad_norm": actor_norm,
        }
        return {**value_metrics, **critic_metrics, **actor_metrics, **norms}, td_error

    @torch.no_grad()
    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Choose actions (V, 1, act): of several samples of the flow the best by the lower critic."""
        rows, count = len(rng), self.config.samples
        history = history.each(padded)
        noise = draw_rows(rng, count, self.action_dim, device=self.device)  # (V, M, act)
        context = repeated(self.context(self.actor.encoder, history)[:rows], count)  # (V M or more, ctx)
        actions = self.actor.head.sample(context, padded(noise.flatten(0, 1)), self.config.flow_steps)
        view = repeated(self.context(self.critic.encoder, history)[:rows], count)
        q = self.critic.head(view, actions).amin(0)[: rows * count]  # (V M,)
        best = q.view(rows, count).argmax(1)  # (V,)
        chosen = actions[: rows * count].view(rows, count, -1)
        return chosen[torch.arange(rows, device=best.device), best][:, None]

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the Q of every critic (E, V)."""
        return self.critic.head(self.context(self.critic.encoder, history), actions[:, 0])
