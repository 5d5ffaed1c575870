"""Trajectory Q-learning: a diffusion policy and critics that read histories, and targets over n steps.

    c_t  = cat(o_t, GRU(o_{t-H+1} .. o_t, a_{t-H} .. a_{t-1})), for H = 1: o_t
    y    = R_k + gamma^k (1 - terminated) [beta V_pi + (1 - beta) V_data] at c_{t+k}
    V_pi = min_j Q'_j(c_{t+k}, a'), a' from the target actor; V_data the same of the data's own next actions
    in-sample, with an expectile e: V(c_{t+k}) instead, L_V = mean |e - 1(u < 0)| u^2, u = min_j Q'_j - V
    L_Q  = sum_j mean (Q_j(c_t, a) - y)^2
    L_pi = mean (net(x_i, i, c_t) - eps)^2 + w eta L_q,     L_q = -mean Q_p(c_t, a_pi) / mean |Q_q(c_t, a_pi)|
    predicts=action: (net(x_i, i, c_t) - a)^2 in its place

w is 0 for `q_start` updates, so that the policy is sharp before it maximises Q, and then rises to 1
over `q_ramp`.
Three lengths are free: horizon (n rewards), critic_chunk (actions Q sees), chunk (actions given).
At H = N = n = 1, no expectile, beta = 1, w = 1 it is Diffusion-QL.

Paper: Wang et al. 2023; Liu et al. 2023 (beta); Kostrikov et al. 2021 (expectile).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.candidates import choose, densest, padded_history, valued_candidates
from trajrl.agents.base.checks import at_least_one, one_of, shares
from trajrl.agents.base.diffusion_config import DiffusionConfig
from trajrl.agents.base.images import ImageConfig
from trajrl.agents.base.learner import BOTH, Metrics, TargetActorLearner, histories, next_chunk, td_report
from trajrl.agents.base.networks import Actor, Critics, build_actor, build_critics
from trajrl.agents.base.proposer import proposer
from trajrl.agents.base.protocol import Batches, History, by_role
from trajrl.agents.presets.trajectory_ql import PRESETS, drawn, preset
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.denoiser import DiffusionPolicy
from trajrl.nets.ensemble import draw_pair
from trajrl.nets.mlp import MLP
from trajrl.nets.targets import best_next_value, expectile_loss, follow, masked_mean, td_target
from trajrl.store.window import SequenceBatch, WindowSpec

__all__ = ["PRESETS", "Config", "Noise", "TrajectoryQL", "drawn", "preset"]


@dataclass(frozen=True)
class Config(DiffusionConfig, ImageConfig):
    """Defaults suit a task of which nothing is known yet."""

    history: int = 8  # H, observations seen; raising it: remembers more, slower; 1: no GRU at all
    critic_context: str = "state"  # what critics see: the observation, or the "context" of the history
    share_encoder: bool = False  # True: one GRU, trained by the critic alone, serves the policy too
    chunk: int = 1  # N, actions given at once, executed open loop; raising it: smoother, slower to react
    critic_chunk: int = 1  # actions Q sees; below the horizon: values biased to the data
    horizon: int = 25  # n, rewards before the bootstrap; raising it: values travel faster, noisier
    beta: float = 1.0  # share of the policy's own action in the bootstrap; the rest is the data's next action
    expectile: float = 0.0  # in-sample V, no policy in the target; raising it: bolder.  0: the policy's value
    eta: float = 0.3  # weight of the Q term; raising it: bolder, further from the data
    q_start: int = 0  # updates of pure cloning; raising it: a sharper policy before it maximises Q
    q_ramp: int = 0  # updates over which the Q term then fades in; raising it: gentler
    target_candidates: int = 1  # next actions of which each critic backs up its best; raising it: optimism
    predicts: str = "noise"  # what the network gives: noise, or action: sharper where a state has one
    candidates: int = 10  # actions to choose from when acting; raising it trusts the critic more
    temperature: float = 0.5  # of that choice; raising it: closer to the plain policy; 0: the best
    standardise_q: bool = True  # the choice sees Q scaled over the candidates: free of the rewards' scale
    pick: str = "draw"  # one candidate by its weight; densest: where a quarter of the weight is nearest
    ema_every: int = 1  # updates between moves of the target actor; raising it slows it down
    ema_start: int = 0  # updates before it averages; until then it is a copy
    critic_norm: str = "before"  # layer norm in the critic; it steadies values of unseen actions
    actor_lr: float = 1e-3  # learning rate of the policy and its GRU
    decay: str = "update"  # learning rates over the run: none, or a cosine per update, epoch or as_run

    def validate(self) -> None:
        """Check what can be checked without data."""
        super().validate()
        at_least_one(self, "chunk", "critic_chunk", "target_candidates")
        self.check_images()
        shares(self, "beta")
        one_of(self, pick=("draw", "densest"))
        if self.critic_chunk > self.chunk:
            raise ValueError(
                f"critic_chunk ({self.critic_chunk}) is at most chunk ({self.chunk}): the bootstrap needs as "
                "many of the policy's actions as the critic sees; raise chunk or lower critic_chunk"
            )
        if self.horizon < self.critic_chunk:
            raise ValueError(
                f"horizon ({self.horizon}) is at least critic_chunk ({self.critic_chunk}): else rewards of "
                "actions that the critic sees are left out; raise horizon or lower critic_chunk"
            )
        if self.critic_context not in ("state", "context"):
            raise ValueError(f"critic_context is state or context; got '{self.critic_context}'")
        if self.share_encoder and self.critic_context == "state":
            raise ValueError("share_encoder needs critic_context = context: the critic trains the shared GRU")
        if not 0 <= self.expectile < 1:
            raise ValueError(f"expectile is at least 0 and below 1; got {self.expectile}")
        if self.expectile and self.beta < 1:
            raise ValueError("expectile and beta both replace the policy's value: give one of them")

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from."""
        return WindowSpec(self.history, self.chunk, self.horizon, next_actions=self.beta < 1)


class Noise(NamedTuple):
    """All the randomness of one update.  A policy sample takes `draws` tensors, K for ddpm."""

    next: Tensor  # (draws, B M, D) for the M next chunks of each row
    level: Tensor  # (B,) diffusion level of the cloning term
    eps: Tensor  # (B, D) its noise
    policy: Tensor  # (draws, B, D) for the chunk that maximises Q
    pair: Tensor  # (2,) the critic to maximise, and the one whose mean absolute value is the scale


class TrajectoryQL(TargetActorLearner):
    """Diffusion Q-learning on windows of trajectories."""

    config: Config
    takes_images = True
    roles = BOTH

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        self.width, self.seen = config.chunk * action_dim, config.critic_chunk * action_dim  # flattened
        size = obs_dim, action_dim, self.init_rng
        own = not config.share_encoder
        actor = build_actor(config, *size, chunk=config.chunk, own_encoder=own, images=self.images)
        self.actor, self.ema_actor = self.with_copy("actor", "ema_actor", actor)
        critic = build_critics(
            config, *size, config.critic_chunk, config.critic_context == "context", self.images
        )
        self.critic, self.target = self.with_copy("critic", "target", critic)
        self.baseline = self.part("baseline", self._baseline()) if config.expectile else None  # V
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, self.actor)
        self.critic_optimiser = self.adam(
            "critic_optimiser", config.critic_lr, config.critic_clip, self.critic
        )
        if self.baseline is not None:
            rate = config.critic_lr, config.critic_clip
            self.baseline_optimiser = self.adam("baseline_optimiser", *rate, self.baseline)
        self.q_weight = torch.zeros((), device=self.device)  # w, a function of the number of updates

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        rows, draws = whole_rows(len(batch.steps)), self.actor.head.plan.draws
        pair = draw_pair(self.config.critics, rng)
        noise = Noise(
            next=local_rows(
                torch.randn(draws, rows * self.config.target_candidates, self.width, generator=rng), 1
            ),
            level=local_rows(torch.randint(self.config.diffusion_steps, (rows,), generator=rng)),
            eps=local_rows(torch.randn(rows, self.width, generator=rng)),
            policy=local_rows(torch.randn(draws, rows, self.width, generator=rng), 1),
            pair=pair,
        )
        return Noise(*(part.to(self.device, non_blocking=True) for part in noise))

    def critic_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """Squared TD error of every critic; returns (loss, absolute TD error (B,), metrics)."""
        now, then = histories(batch)
        actions, real = self.flat_actions(batch)[:, : self.seen], batch.mask[:, 0]
        q = self.critic.head(self.context(self.critic.encoder, now), actions)  # (E, B)

        # Bootstrap at o_{t+k}.  A horizon cut by the episode's end has k < n rewards, hence gamma ** steps.
        with torch.no_grad():
            next_q = self.next_value(batch, then, noise.next)  # (B,)
            y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, next_q, self.config.gamma)

        loss = masked_mean((q - y).square().sum(0), real, batch.weight)
        return loss, *td_report(loss, q, y, real)

    def baseline_loss(self, batch: SequenceBatch) -> tuple[Tensor, Metrics]:
        """Expectile regression of V(c_t) on min_j Q'_j(c_t, a): V of the better actions among the data's."""
        now, _ = histories(batch)
        assert self.baseline is not None
        with torch.no_grad():
            context = self.context(self.target.encoder, now)
            q = self.target.head(context, self.flat_actions(batch)[:, : self.seen]).amin(0)  # (B,)
        excess = q - self.baseline(context)[:, 0]  # (B,)
        loss = masked_mean(expectile_loss(excess, self.config.expectile), batch.mask[:, 0], batch.weight)
        return loss, {"critic/baseline_loss": loss, "critic/advantage": masked_mean(excess, batch.mask[:, 0])}

    def next_value(self, batch: SequenceBatch, then: History, noise: Tensor) -> Tensor:
        """Return the in-sample V, or beta V_pi + (1 - beta) V_data (B,), V_pi where the data ends."""
        if self.baseline is not None:
            return self.baseline(self.context(self.target.encoder, then))[:, 0]
        count, beta = self.config.target_candidates, self.config.beta
        policy_context, critic_context = self.contexts(self.ema_actor, self.target, then)

        # V_pi: the target actor proposes; each critic takes its best candidate, the least critic counts.
        policy = self.ema_actor.head.sample
        value = best_next_value(policy, self.seen_value, policy_context, critic_context, noise, count)  # (B,)
        if beta == 1:
            return value

        # V_data: the actions that follow in the data from t+k on.
        following, whole = next_chunk(batch, self.config.critic_chunk)  # (B, seen), (B,)
        data_value = self.target.head(critic_context, following).amin(0)
        return torch.where(whole, (1 - beta) * data_value + beta * value, value)

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Cloning term plus w eta times the Q term; gradients flow through every step of the chain."""
        now, _ = histories(batch)
        policy, real = self.actor.head, batch.mask[:, 0]
        policy_context, critic_context = self.contexts(self.actor, self.critic, now)

        # L_bc: predict the noise in the data's chunk, or the chunk, over its real actions.
        error = policy.error(self.flat_actions(batch), noise.level, noise.eps, policy_context)  # (B, D)
        squared = error.square().unflatten(1, (-1, self.action_dim))  # (B, N, act)
        bc_loss = masked_mean(squared, batch.action_mask[..., None], batch.weight[:, None, None])
        if not self.q_term_active:
            none = torch.zeros_like(bc_loss)
            return bc_loss, {"actor/bc_loss": bc_loss, "actor/q_loss": none, "actor/q_scale": none}

        # L_q: one critic is maximised, another's mean absolute value sets the scale; critics get no gradient.
        sampled = policy.sample(policy_context, noise.policy)[:, : self.seen]
        mean_q = masked_mean(self.critic.head(critic_context, sampled, noise.pair[:1])[0], real, batch.weight)
        with torch.no_grad():
            other = self.critic.head(critic_context, sampled, noise.pair[1:])[0]
            scale = masked_mean(other.abs(), real, batch.weight)
        q_loss = -mean_q / scale.clamp(min=1e-6)

        metrics = {"actor/bc_loss": bc_loss, "actor/q_loss": q_loss, "actor/q_scale": scale}
        return bc_loss + self.q_weight * (self.config.eta * q_loss), metrics

    def contexts(self, actor: Actor, critic: Critics, history: History) -> tuple[Tensor, Tensor]:
        """Return what actor and critic make of a history; the critic's takes no gradient here."""
        with torch.no_grad():
            of_critic = self.context(critic.encoder, history)
        if self.config.share_encoder:
            return of_critic, of_critic
        return self.context(actor.encoder, history), of_critic

    @property
    def q_term_active(self) -> bool:
        """Say whether the Q term counts by now."""
        return self.config.eta > 0 and self.updates >= self.config.q_start

    def prepare(self) -> None:
        """Set the learning rates, and w, of the next update."""
        super().prepare()
        ramp = max(1, self.config.q_ramp)
        self.q_weight.fill_(min(1.0, max(0, self.updates + 1 - self.config.q_start) / ramp))

    def stage(self) -> Hashable:
        """Return what the host decides of the next update."""
        return super().stage(), self.q_term_active

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """One step of the critic, one of the actor that maximises it, then the targets."""
        policy, values = by_role(batch)
        critic_loss, td_error, critic_metrics = self.critic_loss(values, noise)
        critic_norm = self.critic_optimiser.step(critic_loss)
        if self.baseline is not None:
            baseline_loss, baseline_metrics = self.baseline_loss(values)
            self.baseline_optimiser.step(baseline_loss)
            critic_metrics.update(baseline_metrics)
        actor_loss, actor_metrics = self.actor_loss(policy, noise)
        actor_norm = self.actor_optimiser.step(actor_loss)
        self.follow()
        norms = {"critic/grad_norm": critic_norm, "actor/grad_norm": actor_norm}
        return {**critic_metrics, **actor_metrics, **norms}, td_error

    def follow(self) -> None:
        """Move the target actor every few updates, the target critic at every one."""
        follow(self.ema_actor.parameters(), self.actor.parameters(), self.speed)
        follow(self.target.parameters(), self.critic.parameters(), self.config.tau)

    def acting_chain(self, history: History) -> tuple[DiffusionPolicy, Tensor]:
        """Return the policy that acts, and its context (V, ctx)."""
        actor = self.ema_actor if self.config.act_ema else self.actor
        shared = self.target if self.config.act_ema else self.critic  # whose encoder a sharing actor reads
        return actor.head, self.contexts(actor, shared, history)[0]

    @torch.no_grad()
    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Choose one of the actor's candidates by Q'_j; with `explore` it is drawn, whatever the pick."""
        config, rows, filled = self.config, len(rng), padded_history(history)
        (policy, context), view = proposer(self, filled), self.context(self.target.encoder, filled)
        actions, q = valued_candidates(
            policy, self.seen_value, context[:rows], view[:rows], config.candidates, self.width, rng
        )  # (V, C, D), (E, V, C)
        if config.pick == "densest" and not explore:
            best = densest(actions, q, config.temperature, config.standardise_q)  # (V, D)
        else:
            best = choose(actions, q, config.temperature, rng, config.standardise_q)
        return best.unflatten(1, (-1, self.action_dim))

    def seen_value(self, view: Tensor, chunks: Tensor) -> Tensor:
        """Return Q'_j (E, V) of flattened chunks (V, D), of which critics see the first `critic_chunk`."""
        return self.target.head(view, chunks[:, : self.seen])

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the Q of every critic (E, V) of actions (V, N, act)."""
        return self.seen_value(self.context(self.target.encoder, history), actions.flatten(1))

    def _baseline(self) -> MLP:
        """Build V over the critic's context."""
        config = self.config
        hidden = (config.width,) * config.depth
        return MLP(
            self.target.encoder.context_dim, hidden, 1, self.init_rng,
            activation=config.activation, layer_norm=config.critic_norm,
        )  # fmt: skip
