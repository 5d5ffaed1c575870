"""eg_ood: Q-guided score matching with a guard against actions the data does not know.

    s(c, a) = mean over levels of (eps_b(x_i, i, c) - eps)^2,  b a behaviour model that learns first
    gate    = clip((s - kappa) / kappa, 0, 1),  kappa a quantile of s over pairs of the data
    V_in(c) = max_m min_j Q'_j(c, b_m),  b_m ~ b
    y       = R_k + gamma^k (1 - terminated) ((1 - w) q' + w min(q', V_in)) at c_{t+k},  w = gate(a')
    L_pen   = penalty / E sum_j mean w relu(Q_j(c, a_pi) - V_in(c))^2,  w = gate(a_pi)
    L_Q     = sum_j mean (Q_j(c, a) - y)^2 + L_pen
    L_pi    = mean 1 / clamp(|g|, 0.8, 5) (eps_hat - eps + eta clamp(ratio g, -1, 1))^2,  x0_mean of QG

The guard begins when the behaviour model is done; until then, and with kappa infinite, this is QG.

Paper: none; code by DarthUtopian.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.candidates import choose, padded, padded_history, repeated, valued_candidates
from trajrl.agents.base.checks import above_zero, at_least_one, bounds, not_negative
from trajrl.agents.base.diffusion_config import DiffusionConfig
from trajrl.agents.base.guided_loss import guided_loss
from trajrl.agents.base.learner import BOTH, Metrics, TargetActorLearner, histories, td_report
from trajrl.agents.base.networks import build_actor, build_critics
from trajrl.agents.base.proposer import proposer
from trajrl.agents.base.protocol import Batches, History, by_role
from trajrl.agents.presets.eg_ood import PRESETS, preset
from trajrl.core.distributed import all_gather_rows, local_rows, whole_rows
from trajrl.nets.denoiser import DiffusionPolicy
from trajrl.nets.optim import Optimiser
from trajrl.nets.support import Threshold, denoising_score, score_levels
from trajrl.nets.targets import follow, masked_mean, td_target
from trajrl.store.window import SequenceBatch

__all__ = ["EGOOD", "PRESETS", "Config", "Noise", "preset"]
DEFAULT_BEHAVIOUR_STEPS = 10_000  # where neither the config nor the length of the run says


@dataclass(frozen=True)
class Config(DiffusionConfig):
    """Defaults are those of QG, with fifty candidates to act by."""

    eta: float = 1.0  # inverse temperature of Q; raising it: bolder, further from the data
    guidance_clip: float = 1.0  # bound on each entry of ratio g; raising it: stronger pull, less stable
    norm_weight: tuple[float, float] | None = (0.8, 5.0)  # rows weigh 1 / clamp(|g|, low, high); None: 1
    clamp_x0: bool = False  # True: Q sees the estimated action cut to the box
    behaviour_steps: int = 0  # updates that the behaviour model learns for, 0: a quarter of the run
    calibration_steps: int = 16  # updates whose pairs give kappa then; raising it: a steadier threshold
    quantile: float = 0.95  # of the data's scores that is kappa; raising it: a looser guard
    penalty: float = 1.0  # weight of the penalty on Q outside the data; raising it: more cautious
    support_samples: int = 10  # behaviour actions that V_in is the best of; raising it: looser, slower
    score_levels: int = 8  # diffusion levels a score averages over; raising it: steadier, slower

    def validate(self) -> None:
        """Check what can be checked without data."""
        super().validate()
        at_least_one(self, "calibration_steps", "support_samples", "score_levels")
        not_negative(self, "behaviour_steps", "penalty")
        above_zero(self, "guidance_clip", "quantile")
        if self.quantile > 1:
            raise ValueError(f"quantile is at most 1; got {self.quantile}")
        if self.norm_weight is not None:
            bounds(self, "norm_weight")

    def lasting(self) -> dict[str, Any]:
        """Return the options that a longer run keeps: its first phase is over."""
        return {"behaviour_steps": self.behaviour_updates}

    @property
    def behaviour_updates(self) -> int:
        """Return how many updates the behaviour model learns for."""
        return self.behaviour_steps or self.decay_steps // 4 or DEFAULT_BEHAVIOUR_STEPS


class Noise(NamedTuple):
    """All the randomness of one update.  Fields not in use yet have no rows; the first three are QG's."""

    next: Tensor  # (draws, B, act) for the next action
    level: Tensor  # (B,) diffusion level, of the policy and of the behaviour model
    eps: Tensor  # (B, act) its noise
    score: Tensor  # (B, L, act) for the score of the data's action, the next action or none
    policy: Tensor  # (draws, B, act) for the action that the penalty is about
    score_policy: Tensor  # (B, L, act) for its score
    support: Tensor  # (draws, B m, act) for the behaviour actions at o_t
    next_support: Tensor  # (draws, B m, act) at o_{t+k}


class EGOOD(TargetActorLearner):
    """Q-guided score matching under a guard, on windows of trajectories."""

    config: Config
    roles = BOTH
    apart = ("calibrate",)

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        size = obs_dim, action_dim, self.init_rng
        self.actor, self.ema_actor = self.with_copy("actor", "ema_actor", build_actor(config, *size))
        self.critic, self.target = self.with_copy("critic", "target", build_critics(config, *size))
        self.behaviour = self.part("behaviour", build_actor(config, *size))
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, self.actor)
        self.critic_optimiser = self.adam(
            "critic_optimiser", config.critic_lr, config.critic_clip, self.critic
        )
        learner = Optimiser(
            self.behaviour.parameters(), config.actor_lr, clip=config.actor_clip,
            decay=config.decay, decay_steps=config.behaviour_updates,
        )  # fmt: skip
        self.behaviour_optimiser = self.part("behaviour_optimiser", learner)
        levels = score_levels(config.diffusion_steps, config.score_levels)
        self.levels = levels.to(self.device)  # (L,)
        threshold = Threshold(len(levels), action_dim, self.init_rng, self.device)
        self.threshold = self.part("threshold", threshold)

    @property
    def calibrating(self) -> bool:
        """Say whether the next update's pairs count towards kappa."""
        first = self.config.behaviour_updates
        return first <= self.updates < first + self.config.calibration_steps

    @property
    def guarded(self) -> bool:
        """Say whether the guard is on."""
        return self.updates >= self.config.behaviour_updates + self.config.calibration_steps

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        config, act = self.config, self.action_dim
        rows, levels = whole_rows(len(batch.steps)), len(self.levels)
        draws = self.actor.head.plan.draws
        ahead = rows if config.gamma else 0
        guarded = rows if self.guarded else 0
        guarded_ahead = ahead if self.guarded else 0
        scored = rows if self.calibrating else guarded_ahead
        noise = Noise(
            next=local_rows(torch.randn(draws, ahead, act, generator=rng), 1),
            level=local_rows(torch.randint(config.diffusion_steps, (rows,), generator=rng)),
            eps=local_rows(torch.randn(rows, act, generator=rng)),
            score=local_rows(torch.randn(scored, levels, act, generator=rng)),
            policy=local_rows(torch.randn(draws, guarded, act, generator=rng), 1),
            score_policy=local_rows(torch.randn(guarded, levels, act, generator=rng)),
            support=local_rows(torch.randn(draws, guarded * config.support_samples, act, generator=rng), 1),
            next_support=local_rows(
                torch.randn(draws, guarded_ahead * config.support_samples, act, generator=rng), 1
            ),
        )
        return Noise(*(part.to(self.device, non_blocking=True) for part in noise))

    def behaviour_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Predict the noise in the data's actions."""
        (now, _), policy, real = histories(batch), self.behaviour.head, batch.mask[:, :1]
        context = self.context(self.behaviour.encoder, now)
        error = policy.error(self.flat_actions(batch), noise.level, noise.eps, context).square()  # (B, act)
        loss = masked_mean(error, real, batch.weight[:, None])
        return loss, {"behaviour/loss": loss}

    def score(self, context: Tensor, actions: Tensor, noise: Tensor) -> Tensor:
        """Return s (B,) of actions (B, act) at the behaviour model's contexts; noise is (B, L, act)."""
        return denoising_score(self.behaviour.head, self.levels, context, actions, noise)

    def support_value(self, context: Tensor, view: Tensor, noise: Tensor) -> Tensor:
        """Return V_in (B,): the best behaviour action's value under the target critics."""
        count = self.config.support_samples
        actions = self.behaviour.head.sample(context.repeat_interleave(count, 0), noise)  # (B m, act)
        q = self.target.head(view.repeat_interleave(count, 0), actions).amin(0)
        return q.unflatten(0, (-1, count)).amax(1)

    def critic_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """Squared TD error of every critic, and the penalty; returns (loss, TD error (B,), metrics)."""
        (now, then), real, gamma = histories(batch), batch.mask[:, 0], self.config.gamma
        view = self.context(self.critic.encoder, now)  # (B, ctx)
        q = self.critic.head(view, self.flat_actions(batch))  # (E, B)

        # Bootstrap at o_{t+k}; without a discount nothing is left of it, and no chain is run.
        with torch.no_grad():
            next_q = self.next_value(then, noise) if gamma else torch.zeros_like(q[0])  # (B,)
            y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, next_q, gamma)

        loss = masked_mean((q - y).square().sum(0), real, batch.weight)
        td_error, metrics = td_report(loss, q, y, real)
        if self.guarded:
            penalty, more = self.penalty(batch, now, view, noise)
            loss, metrics = loss + penalty, {**metrics, **more}
        return loss, td_error, {**metrics, "critic/loss": loss}

    def next_value(self, then: History, noise: Noise) -> Tensor:
        """Return q'' (B,): the target actor's value, not above V_in as far as its action is off the data."""
        view = self.context(self.target.encoder, then)
        action = self.ema_actor.head.sample(
            self.context(self.ema_actor.encoder, then), noise.next
        )  # (B, act)
        q = self.target.head(view, action).amin(0)  # (B,)
        if not self.guarded:
            return q
        context = self.context(self.behaviour.encoder, then)
        gate = self.threshold.gate(self.score(context, action, noise.score))  # (B,)
        support = self.support_value(context, view, noise.next_support)
        return (1 - gate) * q + gate * torch.minimum(q, support)

    def penalty(
        self, batch: SequenceBatch, now: History, view: Tensor, noise: Noise
    ) -> tuple[Tensor, Metrics]:
        """Push Q down to V_in where the policy leaves the data; gradient to the critics alone."""
        real = batch.mask[:, 0]
        with torch.no_grad():
            action = self.actor.head.sample(self.context(self.actor.encoder, now), noise.policy)  # (B, act)
            context = self.context(self.behaviour.encoder, now)
            gate = self.threshold.gate(self.score(context, action, noise.score_policy))  # (B,)
            support = self.support_value(context, self.context(self.target.encoder, now), noise.support)
        excess = (self.critic.head(view, action) - support).relu()  # (E, B)
        loss = self.config.penalty * masked_mean((gate * excess.square()).mean(0), real, batch.weight)
        metrics = {
            "guard/penalty": loss, "guard/kappa": self.threshold.kappa,
            "guard/ood_share": masked_mean((gate > 0).float(), real),
            "guard/excess": masked_mean(excess, real),
        }  # fmt: skip
        return loss, metrics

    @torch.no_grad()
    def calibrate(self, batch: SequenceBatch, noise: Noise) -> None:
        """Take the scores of the data's pairs in; kappa follows from the last ones."""
        context = self.context(self.behaviour.encoder, histories(batch)[0])
        scores = all_gather_rows(self.score(context, self.flat_actions(batch), noise.score))[
            all_gather_rows(batch.mask[:, 0])
        ]
        last = self.updates + 1 == self.config.behaviour_updates + self.config.calibration_steps
        self.threshold.take(scores, self.config.quantile, last)

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Regress eps - eta clamp(ratio g); critics get no gradient."""
        (now, _), weight = histories(batch), batch.weight[:, None]
        context = self.context(self.actor.encoder, now)
        with torch.no_grad():
            view = self.context(self.critic.encoder, now)
        return guided_loss(
            self.config, self.actor.head, lambda x0: self.critic.head(view, x0).amin(0), context,
            self.flat_actions(batch), noise.level, noise.eps, batch.mask[:, :1], weight,
        )  # fmt: skip

    def stage(self) -> Hashable:
        """Return what the host decides of the next update; None while kappa is found, on the host."""
        learning = self.updates < self.config.behaviour_updates
        return None if self.calibrating else (super().stage(), learning, self.guarded)

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """Behaviour model while it learns, then critic, then the actor it guides, then the targets.

        The behaviour model guards the values: it says what is on the data that they are learned from.
        """
        policy, values = by_role(batch)
        found: Metrics = {}
        if self.updates < self.config.behaviour_updates:
            behaviour_loss, found = self.behaviour_loss(values, noise)
            found["behaviour/grad_norm"] = self.behaviour_optimiser.step(behaviour_loss)
        elif self.calibrating:
            self.calibrate(values, noise)
        critic_loss, td_error, critic_metrics = self.critic_loss(values, noise)
        critic_norm = self.critic_optimiser.step(critic_loss)
        actor_loss, actor_metrics = self.actor_loss(policy, noise)
        actor_norm = self.actor_optimiser.step(actor_loss)
        self.follow()
        norms = {"critic/grad_norm": critic_norm, "actor/grad_norm": actor_norm}
        return {**found, **critic_metrics, **actor_metrics, **norms}, td_error

    def follow(self) -> None:
        """Move the target actor every few updates, the target critic at every one."""
        follow(self.ema_actor.parameters(), self.actor.parameters(), self.speed)
        follow(self.target.parameters(), self.critic.parameters(), self.config.tau)

    def acting_chain(self, history: History) -> tuple[DiffusionPolicy, Tensor]:
        """Return the policy that acts, and its context (V, ctx)."""
        actor = self.ema_actor if self.config.act_ema else self.actor
        return actor.head, self.context(actor.encoder, history)

    @torch.no_grad()
    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Draw one of the actor's candidates by softmax over min_j Q'_j, those off the data left out.

        Where all of a row's candidates are off the data, all stay.
        """
        config, rows, filled = self.config, len(rng), padded_history(history)
        policy, context = proposer(self, filled)
        view = self.context(self.target.encoder, filled)[:rows]
        actions, q = valued_candidates(
            policy, self.target.head, context[:rows], view, config.candidates, self.action_dim, rng
        )  # (V, C, act), (E, V, C)
        if self.guarded and config.candidates > 1:
            off = self.off_data(self.context(self.behaviour.encoder, filled)[:rows], actions)
            q = torch.where(off & ~off.all(1, keepdim=True), -torch.inf, q)
        return choose(actions, q, config.temperature, rng)[:, None]  # (V, 1, act)

    def off_data(self, context: Tensor, actions: Tensor) -> Tensor:
        """Say which candidates (V, C, act) score above kappa, always under the same noise: (V, C)."""
        filled = padded(actions.flatten(0, 1))  # (V C or more, act)
        noise = self.threshold.noise.expand(len(filled), -1, -1)
        score = self.score(repeated(context, actions.shape[1]), filled, noise)
        return (score > self.threshold.kappa)[: actions.shape[:2].numel()].view(actions.shape[:2])

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the Q of every critic (E, V)."""
        return self.target.head(self.context(self.target.encoder, history), actions.flatten(1))
