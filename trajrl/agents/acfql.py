"""ACFQL: flow Q-learning over chunks of actions.  FQL, BFN, QC-FQL and QC are settings of it.

    y    = R_k + gamma^k (1 - terminated) Q'(o_{t+k}, a'),   a' from the policy at o_{t+k}
    L_Q  = mean over the ensemble of (Q_j(o, a) - y)^2
    L_pi = L_flow + alpha L_distill + L_q    distill: a one-step policy mu follows the flow and maximises Q
    L_pi = L_flow                            best_of_n: of several samples of the flow, the best by Q acts

Paper: Park et al. 2025 (FQL); Li et al. 2025 (Q-chunking).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.candidates import padded, repeated
from trajrl.agents.base.checks import at_least_one, chunk_lengths, not_negative, one_of, one_of_many, shares
from trajrl.agents.base.images import ImageConfig
from trajrl.agents.base.learner import BOTH, Learner, Metrics, draw_rows, histories, next_chunk, td_report
from trajrl.agents.base.networks import build_encoder
from trajrl.agents.base.protocol import Batches, History, by_role
from trajrl.agents.presets.acfql import PRESETS, preset
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.ensemble import Critic
from trajrl.nets.flow import VelocityField, straight_path
from trajrl.nets.history import HistoryNet
from trajrl.nets.mlp import MLP
from trajrl.nets.targets import AGGREGATES, follow, masked_mean, pooled, td_target
from trajrl.store.window import SequenceBatch, WindowSpec

__all__ = ["ACFQL", "PRESETS", "Config", "Noise", "preset"]
SMALLEST_Q = 1e-6  # floor of mean |Q| where it divides


@dataclass(frozen=True)
class Config(ImageConfig):
    """Defaults are QC-FQL with a scale-free Q term; chunk 1 gives FQL, and BFN under best_of_n."""

    actor: str = "distill"  # distill: acts in one step, maximises Q; best_of_n: stays on the data, slower
    chunk: int = 5  # actions the policy gives, executed open loop; raising it: bolder, slower to react
    critic_chunk: int = 0  # actions the critic sees, 0: the chunk; below the horizon: faster, biased values
    horizon: int = 0  # rewards before the bootstrap, 0: the critic's chunk; raising it: values travel faster
    history: int = 1  # H, observations seen; above 1 a GRU of the actor and one of the critic read them
    history_actions: bool = True  # the GRUs also see the action before each observation
    gru_width: int = 128  # of the history's summary; raising it: remembers more, slower
    gru_layers: int = 1  # raising it: longer patterns, slower
    alpha: float = 1.0  # weight of the distillation; raising it keeps mu closer to the data
    normalize_q: bool = True  # divide the Q term by mean |Q|, so that one alpha serves many tasks
    samples: int = 32  # candidates of best_of_n; raising it trusts the critic more and costs time
    flow_steps: int = 10  # Euler steps of the flow; raising it: truer samples, slower updates
    q_agg: str = "mean"  # one value from the ensemble: mean, or min or lower, which are more cautious
    doubt: float = 1.0  # deviations of the ensemble that lower lies below its mean; raising it: more cautious
    beta: float = 1.0  # share of the policy's action in the bootstrap; the rest is the data's next chunk
    partial_chunks: str = "pad"  # windows cut by an episode's end: pad trains the critic on them, or drop
    count_padding: bool = False  # True: the flow loss divides by padded entries too, as published
    late_targets: bool = False  # True: targets follow the critic of one update ago, as the reference does
    action_margin: float = 0.0  # actions of the data are cut to +-(1 - this); published: 1e-5
    gamma: float = 0.99  # discount per step; raising it looks further ahead
    tau: float = 0.005  # speed of the target critic; raising it: newer targets, less stable
    critics: int = 2  # size of the ensemble; raising it: steadier values, slower updates
    width: int = 512  # of the networks; raising it: finer, slower
    depth: int = 4  # hidden layers; raising it: finer, slower
    actor_norm: str = "none"  # layer norm in the policy: none, before or after the activation
    critic_norm: str = "after"  # layer norm in the critic; it steadies values of unseen actions
    actor_lr: float = 3e-4  # learning rate of the policy
    critic_lr: float = 3e-4  # learning rate of the critic
    actor_clip: float = 0.0  # bound on the gradient's norm, 0: none; lowering it: calmer steps
    critic_clip: float = 0.0  # the same for the critic
    decay: str = "none"  # learning rates over the run: none, or a cosine per update, epoch or as_run
    decay_steps: int = 0  # updates of that cosine; 0: the run's
    normalize_obs: bool = False  # True: observations are centred and scaled by the data's statistics

    def validate(self) -> None:
        """Check what can be checked without data; nets and optimisers check their own."""
        one_of(self, actor=("distill", "best_of_n"), q_agg=AGGREGATES, partial_chunks=("pad", "drop"))
        at_least_one(self, "chunk", "history", "samples", "flow_steps", "critics", "width", "depth")
        shares(self, "action_margin", "beta")
        not_negative(self, "doubt")
        one_of_many(self)
        chunk_lengths(self)
        self.check_images()

    @property
    def seen(self) -> int:
        """Return how many actions the critic sees."""
        return self.critic_chunk or self.chunk

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from."""
        return WindowSpec(self.history, self.chunk, self.horizon or self.seen, next_actions=self.beta < 1)


class Noise(NamedTuple):
    """All the randomness of one update.  D = N act is the size of a flattened chunk."""

    flow: Tensor  # (B, D) where the paths of the flow loss start
    time: Tensor  # (B, 1) in [0, 1)
    policy: Tensor  # (B, D) where the one-step policy and the flow it follows start
    next: Tensor  # (B, M, D) where the M candidates at the bootstrap start; M = 1 under distill


class ACFQL(Learner):
    """Flow Q-learning over chunks."""

    config: Config
    takes_images = True
    roles = BOTH

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        rng = self.init_rng
        self.size, self.seen = config.chunk * action_dim, config.seen * action_dim  # of flattened chunks
        self.candidates = config.samples if config.actor == "best_of_n" else 1
        self.build_actor(rng)
        self.build_critic(rng)
        actor = (self.actor, self.one_step) if config.actor == "distill" else (self.actor,)
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, *actor)
        self.critic_optimiser = self.adam(
            "critic_optimiser", config.critic_lr, config.critic_clip, self.critic
        )

    def build_actor(self, rng: torch.Generator) -> None:
        """Build the flow and, under distill, the one-step policy, which reads the same context."""
        config, hidden = self.config, (self.config.width,) * self.config.depth
        encoder = build_encoder(config, self.obs_dim, self.action_dim, rng, config.history, self.images)
        flow = VelocityField(encoder.context_dim, self.size, hidden, rng, layer_norm=config.actor_norm)
        self.actor = self.part("actor", HistoryNet(encoder, flow))
        if config.actor == "distill":
            net = MLP(
                encoder.context_dim + self.size, hidden, self.size, rng,
                activation="gelu", init="xavier", layer_norm=config.actor_norm, norm_eps=1e-6,
            )  # fmt: skip
            self.one_step = self.part("one_step", net)

    def build_critic(self, rng: torch.Generator) -> None:
        """Build the critics and their target."""
        config, hidden = self.config, (self.config.width,) * self.config.depth
        encoder = build_encoder(config, self.obs_dim, self.action_dim, rng, config.history, self.images)
        critic = Critic(
            config.critics, encoder.context_dim + self.seen, hidden, rng,
            activation="gelu", init="xavier", layer_norm=config.critic_norm, norm_eps=1e-6,
        )  # fmt: skip
        self.critic, self.target = self.with_copy("critic", "target", HistoryNet(encoder, critic))

    def flat_actions(self, batch: SequenceBatch) -> Tensor:
        """Return the data's actions, flattened (B, D), inside their box; zero where there are none."""
        return self.inside(super().flat_actions(batch))

    def inside(self, actions: Tensor) -> Tensor:
        """Cut actions of the data to the box less its margin."""
        bound = 1 - self.config.action_margin
        return actions.clamp(-bound, bound) if self.config.action_margin else actions

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        rows, size = whole_rows(len(batch.steps)), self.size
        noise = Noise(
            flow=local_rows(torch.randn(rows, size, generator=rng)),
            time=local_rows(torch.rand(rows, 1, generator=rng)),
            policy=local_rows(torch.randn(rows, size, generator=rng)),
            next=local_rows(torch.randn(rows, self.candidates, size, generator=rng)),
        )
        return Noise(*(part.to(self.device, non_blocking=True) for part in noise))

    def critic_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """Squared TD error of every critic; returns (loss, absolute TD error (B,), metrics)."""
        config, (here, there) = self.config, histories(batch)
        view = self.context(self.critic.encoder, here)  # (B, ctx)
        q = self.critic.head(view, self.flat_actions(batch)[:, : self.seen])  # (E, B)

        # Bootstrap at o_{t+k}: the online policy proposes, the target critic values.
        with torch.no_grad():
            value = self.next_value(batch, there, noise)  # (B,)
            y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, value, config.gamma)

        # A window that the episode's end cuts has k < n steps.  pad trains on it with gamma^k; drop gives it
        # no weight, and still counts it in the mean, as published.
        drop = config.partial_chunks == "drop"
        valid = batch.steps == self.spec.n if drop else batch.steps > 0  # (B,)
        td = torch.where(valid, q - y, 0.0)  # (E, B)
        loss = masked_mean(td.square(), valid | drop, batch.weight)
        td_error, metrics = td_report(loss, q, y, valid)
        return loss, td_error, {
            **metrics, "critic/used_share": masked_mean(valid.float(), torch.ones_like(valid)),
        }  # fmt: skip

    def next_value(self, batch: SequenceBatch, there: History, noise: Noise) -> Tensor:
        """Return (1 - beta) Q'(o_{t+k}, a_{t+k ..}) + beta Q'(o_{t+k}, a'), (B,)."""
        beta, context = self.config.beta, self.context(self.target.encoder, there)
        value = self.pool(self.target.head(context, self.propose(there, noise.next)[:, : self.seen]))  # (B,)
        if beta == 1:
            return value

        # The data's own chunk from t+k on, where the episode holds all of it; elsewhere the policy's alone.
        actions, whole = next_chunk(batch, self.config.seen)  # (B, D of the critic), (B,)
        mixed = (1 - beta) * self.pool(self.target.head(context, self.inside(actions))) + beta * value
        return torch.where(whole, mixed, value)

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Metrics]:
        """L_flow, and under distill + alpha L_distill + L_q; returns (loss, metrics)."""
        config, (here, _) = self.config, histories(batch)
        context = self.context(self.actor.encoder, here)  # (B, ctx)
        real, weight = batch.action_mask, batch.weight  # (B, N), (B,)

        # L_flow: the velocity along straight paths from noise to the data's chunk; padded steps add nothing.
        point, velocity = straight_path(self.flat_actions(batch), noise.flow, noise.time)  # (B, D) both
        error = (self.actor.head(context, point, noise.time) - velocity).square().view_as(batch.actions)
        error = torch.where(real[..., None], error, 0.0)  # (B, N, act)
        counted = torch.ones_like(real) if config.count_padding else real
        flow_loss = masked_mean(error, counted[..., None], weight[:, None, None])
        if config.actor == "best_of_n":
            return flow_loss, {"actor/loss": flow_loss, "actor/bc_loss": flow_loss}

        # L_distill: mu, not clipped, lands where the flow does from the same noise; no gradient to the flow.
        row = real[:, 0]  # (B,) False for a window without a step
        with torch.no_grad():
            goal = self.actor.head.sample(context, noise.policy, config.flow_steps)  # (B, D)
        # Of images the flow alone decides what is seen: alpha times the distance would drown its gradient.
        seen = context.detach() if self.images else context
        mu = self.one_step(torch.cat((seen, noise.policy), -1))  # (B, D)
        distill_loss = masked_mean((mu - goal).square(), row[:, None], weight[:, None])

        # L_q: maximise the ensemble's mean, whatever q_agg is.  The optimiser gives the critic no gradient.
        with torch.no_grad():
            view = self.context(self.critic.encoder, here)
        q = self.critic.head(view, mu.clamp(-1, 1)[:, : self.seen]).mean(0)  # (B,)
        q_loss = -masked_mean(q, row, weight)
        if config.normalize_q:
            q_loss = q_loss / masked_mean(q.detach().abs(), row, weight).clamp(min=SMALLEST_Q)

        loss = flow_loss + config.alpha * distill_loss + q_loss
        metrics = {"actor/bc_loss": flow_loss, "actor/distill_loss": distill_loss, "actor/q_loss": q_loss}
        return loss, {"actor/loss": loss, **metrics}

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """One step of critic and actor, both from losses that see the networks as they were before it."""
        policy, values = by_role(batch)
        critic_loss, td_error, critic_metrics = self.critic_loss(values, noise)
        actor_loss, actor_metrics = self.actor_loss(policy, noise)
        # The actor first: its graph runs through the critic's weights.
        actor_norm = self.actor_optimiser.step(actor_loss)
        if self.config.late_targets:
            follow(self.target.parameters(), self.critic.parameters(), self.config.tau)
        critic_norm = self.critic_optimiser.step(critic_loss)
        if not self.config.late_targets:
            follow(self.target.parameters(), self.critic.parameters(), self.config.tau)
        norms = {"critic/grad_norm": critic_norm, "actor/grad_norm": actor_norm}
        return {**critic_metrics, **actor_metrics, **norms}, td_error

    @torch.no_grad()
    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Choose chunks (V, N, act); exploring or not, the policy samples as it does in training."""
        noise = draw_rows(rng, self.candidates, self.size, device=self.device)  # (V, M, D)
        chunks = self.propose(history.each(padded), noise)
        return chunks.unflatten(1, (self.config.chunk, self.action_dim))

    @torch.no_grad()
    def value(self, history: History, actions: Tensor) -> Tensor:
        """Return Q (V,) of actions (V, N, act), of which the critic sees its own chunk."""
        return self.pool(self.values(history, actions))

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the Q of every critic (E, V)."""
        context = self.context(self.critic.encoder, history)
        return self.critic.head(context, actions.flatten(1)[:, : self.seen])

    def propose(self, history: History, noise: Tensor) -> Tensor:
        """Return the policy's chunks (B, D) from noise (B, M, D); histories beyond B rows are padding."""
        rows, count = noise.shape[:2]
        context = repeated(self.context(self.actor.encoder, history)[:rows], count)  # (B M or more, ctx)
        start = padded(noise.flatten(0, 1))  # (B M or more, D)
        if self.config.actor == "distill":
            return self.one_step(torch.cat((context, start), -1))[:rows].clamp(-1, 1)

        chunks = self.actor.head.sample(context, start, self.config.flow_steps)
        view = repeated(self.context(self.critic.encoder, history)[:rows], count)
        q = self.pool(self.critic.head(view, chunks[:, : self.seen]))[: rows * count]
        best = q.view(rows, count).argmax(1)  # (B,)
        return chunks[: rows * count].view(rows, count, -1)[torch.arange(rows, device=best.device), best]

    def pool(self, q: Tensor) -> Tensor:
        """Return one value (...) from the ensemble's (E, ...)."""
        return pooled(q, self.config.q_agg, self.config.doubt)
