"""DQC: decoupled Q-chunking.  A critic sees a long chunk; a short one, valued by another critic, is acted.

    y    = R_k + gamma^k (1 - terminated) V(o_{t+k})
    L_C  = mean over the ensemble of (C_j(o, a_t .. a_{t+h-1}) - y)^2
    L_D  = mean |kappa_d - 1[u < 0]| u^2,   u = C_j(o, a_t .. a_{t+h-1}) - D_j(o, a_t .. a_{t+m-1})
    L_V  = mean |kappa_b - 1[u < 0]| |u|,   u = mean_j D'_j(o, a_t .. a_{t+m-1}) - V(o)
    L_pi = L_flow over m actions;  of several samples the best by D acts

h is critic_chunk (else the horizon), m is chunk.  D is an expectile over how the long chunk goes on behind
the short one: above one half, what the first m actions are worth if the rest is done well.

Paper: Li et al. 2025 (Decoupled Q-chunking).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.candidates import padded, repeated
from trajrl.agents.base.checks import at_least_one, not_negative, one_of, one_of_many, shares
from trajrl.agents.base.learner import BOTH, Learner, Metrics, draw_rows, histories, td_report
from trajrl.agents.base.networks import build_encoder
from trajrl.agents.base.protocol import Batches, History, by_role
from trajrl.agents.presets.dqc import PRESETS, preset
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.ensemble import Critic
from trajrl.nets.flow import VelocityField, straight_path
from trajrl.nets.history import HistoryNet
from trajrl.nets.mlp import MLP
from trajrl.nets.targets import (
    AGGREGATES,
    expectile_loss,
    follow,
    masked_mean,
    pooled,
    quantile_loss,
    td_target,
)
from trajrl.store.window import SequenceBatch, WindowSpec

__all__ = ["DQC", "PRESETS", "Config", "Noise", "preset"]


@dataclass(frozen=True)
class Config:
    """Defaults are the published lengths: a critic over 25 actions, a policy of 5."""

    chunk: int = 5  # m, actions the policy gives, executed open loop; raising it: bolder, slower to react
    critic_chunk: int = 0  # h, actions the long critic sees, 0: the horizon; raising it: harder to learn
    horizon: int = 25  # rewards before the bootstrap; raising it: values travel faster
    history: int = 1  # H, observations seen; above 1 a GRU each of policy, values and critics reads them
    history_actions: bool = True  # the GRUs also see the action before each observation
    gru_width: int = 128  # of the history's summary; raising it: remembers more, slower
    gru_layers: int = 1  # raising it: longer patterns, slower
    kappa_d: float = 0.5  # expectile of the short critic; raising it: trusts that the rest goes well
    kappa_b: float = 0.9  # of V; raising it: V nearer the best short chunk of the data, more overestimation
    backup: str = (
        "quantile"  # what V is of the data's short chunks: quantile, or expectile, which is smoother
    )
    samples: int = 32  # candidates of the policy; raising it trusts the short critic more and costs time
    flow_steps: int = 10  # Euler steps of the flow; raising it: truer samples, slower acting
    q_agg: str = "mean"  # one value from the ensemble: mean, or min or lower, which are more cautious
    doubt: float = 1.0  # deviations of the ensemble that lower lies below its mean; raising it: more cautious
    partial_chunks: str = "pad"  # windows cut by an episode's end: pad trains on them, or drop
    gamma: float = 0.99  # discount per step; raising it looks further ahead
    tau: float = 0.005  # speed of the short critic's target; raising it: newer targets, less stable
    critics: int = 2  # size of each ensemble; raising it: steadier values, slower updates
    width: int = 512  # of the networks; raising it: finer, slower
    depth: int = 4  # hidden layers; raising it: finer, slower
    actor_norm: str = "after"  # layer norm in the policy: none, before or after the activation
    critic_norm: str = "after"  # layer norm in critics and V; it steadies values of unseen actions
    actor_lr: float = 3e-4  # learning rate of the policy
    critic_lr: float = 3e-4  # learning rate of both critics and V
    actor_clip: float = 0.0  # bound on the gradient's norm, 0: none; lowering it: calmer steps
    critic_clip: float = 0.0  # the same for both critics and V together
    decay: str = "none"  # learning rates over the run: none, or a cosine per update, epoch or as_run
    decay_steps: int = 0  # updates of that cosine; 0: the run's
    normalize_obs: bool = False  # True: observations are centred and scaled by the data's statistics

    def validate(self) -> None:
        """Check what can be checked without data; nets and optimisers check their own."""
        one_of(self, q_agg=AGGREGATES, backup=("quantile", "expectile"), partial_chunks=("pad", "drop"))
        at_least_one(self, "chunk", "history", "samples", "flow_steps", "critics", "width", "depth")
        shares(self, "kappa_d", "kappa_b")
        not_negative(self, "doubt")
        one_of_many(self)
        at_least_one(self, "horizon")
        if self.seen < self.chunk:
            raise ValueError(
                f"critic_chunk (or the horizon, without it), {self.seen}, is at least chunk, {self.chunk}: "
                "the long critic sees what the policy gives, and more"
            )
        if self.horizon < self.seen:
            raise ValueError(
                f"horizon must not be below critic_chunk, {self.critic_chunk}: the rewards of its actions "
                f"count; got {self.horizon}"
            )

    @property
    def seen(self) -> int:
        """Return how many actions the long critic sees."""
        return self.critic_chunk or self.horizon

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from."""
        return WindowSpec(self.history, self.chunk, self.horizon, actions=self.seen)


class Noise(NamedTuple):
    """All the randomness of one update.  D = m act is the size of a flattened short chunk."""

    flow: Tensor  # (B, D) where the paths of the flow loss start
    time: Tensor  # (B, 1) in [0, 1)


class DQC(Learner):
    """Decoupled Q-chunking."""

    config: Config
    roles = BOTH

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        rng, hidden = self.init_rng, (config.width,) * config.depth
        self.size = config.chunk * action_dim  # D
        style: dict[str, Any] = {"activation": "gelu", "init": "xavier", "norm_eps": 1e-6}
        encoder = build_encoder(config, obs_dim, action_dim, rng, config.history)
        flow = VelocityField(encoder.context_dim, self.size, hidden, rng, layer_norm=config.actor_norm)
        self.actor = self.part("actor", HistoryNet(encoder, flow))

        def critic(size: int) -> HistoryNet[Critic]:
            own = build_encoder(config, obs_dim, action_dim, rng, config.history)
            head = Critic(
                config.critics, own.context_dim + size, hidden, rng, layer_norm=config.critic_norm, **style
            )
            return HistoryNet(own, head)

        self.long = self.part("long", critic(config.seen * action_dim))
        self.critic, self.target = self.with_copy("critic", "target", critic(self.size))
        encoder = build_encoder(config, obs_dim, action_dim, rng, config.history)
        value = MLP(encoder.context_dim, hidden, 1, rng, layer_norm=config.critic_norm, **style)
        self.state_value = self.part("state_value", HistoryNet(encoder, value))
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, self.actor)
        valued = self.long, self.critic, self.state_value
        self.critic_optimiser = self.adam("critic_optimiser", config.critic_lr, config.critic_clip, *valued)

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        rows = whole_rows(len(batch.steps))
        noise = Noise(
            local_rows(torch.randn(rows, self.size, generator=rng)),
            local_rows(torch.rand(rows, 1, generator=rng)),
        )
        return Noise(*(part.to(self.device, non_blocking=True) for part in noise))

    def critic_loss(self, batch: SequenceBatch) -> tuple[Tensor, Tensor, Metrics]:
        """L_C + L_D + L_V; returns (loss, absolute TD error of the long critic (B,), metrics)."""
        config, (here, there) = self.config, histories(batch)
        actions = self.flat_actions(batch)  # (B, h act)
        short, weight = actions[:, : self.size], batch.weight  # (B, D), (B,)

        # Rows that count.  drop asks for whole windows of the long critic and whole chunks of the short one;
        # pad trains on all that have a step, with k real rewards and zeros for actions that are not there.
        drop = config.partial_chunks == "drop"
        whole = batch.steps == self.spec.n if drop else batch.steps > 0  # (B,)
        real = batch.action_mask[:, config.chunk - 1] if drop else batch.steps > 0  # (B,)

        # L_C: the long critic on the bootstrap by V.  No gradient reaches V from here.
        with torch.no_grad():
            value = self.state_value.head(self.context(self.state_value.encoder, there))[:, 0]  # (B,)
            y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, value, config.gamma)
        long = self.long.head(self.context(self.long.encoder, here), actions)  # (E, B)
        long_loss = masked_mean(torch.where(whole, long - y, 0.0).square(), whole, weight)

        # L_D: critic j of the short chunk follows critic j of the long one from above; the long one is fixed.
        q = self.critic.head(self.context(self.critic.encoder, here), short)  # (E, B)
        ahead = torch.where(whole & real, long.detach() - q, 0.0)
        distilled = masked_mean(expectile_loss(ahead, config.kappa_d), whole & real, weight)

        # L_V: an upper quantile or expectile over the data's short chunks; the target critic is fixed.
        with torch.no_grad():
            view = self.context(self.target.encoder, here)
            goal = self.pool(self.target.head(view, short))  # (B,)
        v = self.state_value.head(self.context(self.state_value.encoder, here))[:, 0]  # (B,)
        u = torch.where(real, goal - v, 0.0)
        ahead_of = quantile_loss if config.backup == "quantile" else expectile_loss
        value_loss = masked_mean(ahead_of(u, config.kappa_b), real, weight)

        td_error, metrics = td_report(long_loss, long, y, whole)
        found = {
            "critic/distill_loss": distilled, "critic/short_q_mean": masked_mean(q, real),
            "value/loss": value_loss, "value/advantage": masked_mean(u, real),
            "critic/used_share": masked_mean(whole.float(), torch.ones_like(whole)),
        }  # fmt: skip
        return long_loss + distilled + value_loss, td_error, {**metrics, **found}

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Metrics]:
        """L_flow: the velocity along straight paths from noise to the data's short chunk."""
        here, _ = histories(batch)
        count = self.config.chunk
        context = self.context(self.actor.encoder, here)  # (B, ctx)
        point, velocity = straight_path(self.flat_actions(batch)[:, : self.size], noise.flow, noise.time)
        error = (self.actor.head(context, point, noise.time) - velocity).square()  # (B, D)
        error = error.unflatten(1, (count, self.action_dim))  # (B, m, act)
        mask = batch.action_mask[:, :count, None]  # (B, m, 1)
        loss = masked_mean(torch.where(mask, error, 0.0), mask, batch.weight[:, None, None])
        return loss, {"actor/loss": loss, "actor/bc_loss": loss}

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """Take one step of the critics and V together and one of the policy, then move the target."""
        policy, values = by_role(batch)
        critic_loss, td_error, critic_metrics = self.critic_loss(values)
        actor_loss, actor_metrics = self.actor_loss(policy, noise)
        norms = {
            "critic/grad_norm": self.critic_optimiser.step(critic_loss),
            "actor/grad_norm": self.actor_optimiser.step(actor_loss),
        }
        follow(self.target.parameters(), self.critic.parameters(), self.config.tau)
        return {**critic_metrics, **actor_metrics, **norms}, td_error

    @torch.no_grad()
    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Choose chunks (V, m, act): of several samples of the flow the best by the short critic."""
        noise = draw_rows(rng, self.config.samples, self.size, device=self.device)  # (V, M, D)
        chunks = self.propose(history.each(padded), noise)
        return chunks.unflatten(1, (self.config.chunk, self.action_dim))

    def propose(self, history: History, noise: Tensor) -> Tensor:
        """Return the policy's chunks (B, D) from noise (B, M, D); histories beyond B rows are padding."""
        rows, count = noise.shape[:2]
        context = repeated(self.context(self.actor.encoder, history)[:rows], count)  # (B M or more, ctx)
        chunks = self.actor.head.sample(context, padded(noise.flatten(0, 1)), self.config.flow_steps)
        view = repeated(self.context(self.critic.encoder, history)[:rows], count)
        q = self.pool(self.critic.head(view, chunks))[: rows * count]
        best = q.view(rows, count).argmax(1)  # (B,)
        return chunks[: rows * count].view(rows, count, -1)[torch.arange(rows, device=best.device), best]

    @torch.no_grad()
    def value(self, history: History, actions: Tensor) -> Tensor:
        """Return D (V,) of actions (V, N, act), of which the short critic sees its own chunk."""
        return self.pool(self.values(history, actions))

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the D of every critic (E, V)."""
        context = self.context(self.critic.encoder, history)
        return self.critic.head(context, actions.flatten(1)[:, : self.size])

    def pool(self, q: Tensor) -> Tensor:
        """Return one value (...) from the ensemble's (E, ...)."""
        return pooled(q, self.config.q_agg, self.config.doubt)
