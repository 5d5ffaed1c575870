"""QG: Q-guided score matching.  The denoiser regresses noise shifted against the gradient of Q; no chain.

    x_i   = sqrt(abar) a + sqrt(1 - abar) eps        x0 = (x_i - sqrt(1 - abar) sg(eps_hat)) / sqrt(abar)
    g     = grad_{x0} sum_b min_j Q_j(c_t, x0) / q_scale
    goal  = eps - eta clamp(ratio g, -1, 1)          w = 1 / clamp(|g|, 0.8, 5) per row
    L_pi  = mean w (eps_hat - sg(goal))^2
    y     = R_k + gamma^k (1 - terminated) min_j Q'_j(c_{t+k}, a'),   L_Q = sum_j mean (Q_j(c_t, a) - y)^2

This is the score of p_data(a) exp(eta Q) with a one-sample estimate of the clean action.  c_t is the
observation, or with history > 1 what a GRU makes of the last H of them.

Paper: none; code by DarthUtopian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.candidates import choose, padded_history, valued_candidates
from trajrl.agents.base.checks import above_zero, at_least_one, bounds, one_of
from trajrl.agents.base.diffusion_config import DiffusionConfig
from trajrl.agents.base.guided_loss import guided_loss
from trajrl.agents.base.learner import BOTH, Metrics, TargetActorLearner, histories, td_report
from trajrl.agents.base.networks import build_actor, build_critics
from trajrl.agents.base.proposer import proposer
from trajrl.agents.base.protocol import Batches, History, by_role
from trajrl.agents.presets.qg import PRESETS, preset
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.denoiser import DiffusionPolicy
from trajrl.nets.guidance import RATIOS
from trajrl.nets.targets import best_next_value, follow, masked_mean, td_target
from trajrl.store.window import SequenceBatch

__all__ = ["PRESETS", "QG", "Config", "Noise", "preset"]


@dataclass(frozen=True)
class Config(DiffusionConfig):
    """Defaults are the published variant x0_mean with the settings of Diffusion-QL around it."""

    eta: float = 1.0  # inverse temperature of Q; raising it: bolder, further from the data
    ratio: str = (
        "x0_mean"  # how guidance grows with noise, and where Q's gradient is taken; see nets/guidance.py
    )
    guidance_clip: float = 1.0  # bound on each entry of ratio g; raising it: stronger pull, less stable
    norm_weight: tuple[float, float] | None = (0.8, 5.0)  # rows weigh 1 / clamp(|g|, low, high); None: 1
    clamp_x0: bool = False  # True: Q sees the estimated action cut to the box
    q_scale: str = "one"  # mean: Q is divided by mean |Q| + 1, so that eta means the same in every task
    target_candidates: int = 1  # next actions of which each critic backs up its best; raising it: optimism
    candidates: int = 1  # actions to choose from when acting; raising it trusts the critic more

    def validate(self) -> None:
        """Check what can be checked without data."""
        super().validate()
        one_of(self, ratio=RATIOS, q_scale=("one", "mean"))
        at_least_one(self, "target_candidates")
        above_zero(self, "guidance_clip")
        if self.norm_weight is not None:
            bounds(self, "norm_weight")


class Noise(NamedTuple):
    """All the randomness of one update.  A policy sample takes `draws` tensors, K for ddpm."""

    next: Tensor  # (draws, B M, act) for the M next actions of each row; no rows without a discount
    level: Tensor  # (B,) diffusion level
    eps: Tensor  # (B, act) its noise


class QG(TargetActorLearner):
    """Q-guided score matching on windows of trajectories."""

    config: Config
    roles = BOTH

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        size = obs_dim, action_dim, self.init_rng
        self.actor, self.ema_actor = self.with_copy("actor", "ema_actor", build_actor(config, *size))
        self.critic, self.target = self.with_copy("critic", "target", build_critics(config, *size))
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, self.actor)
        self.critic_optimiser = self.adam(
            "critic_optimiser", config.critic_lr, config.critic_clip, self.critic
        )

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        rows, draws = whole_rows(len(batch.steps)), self.actor.head.plan.draws
        ahead = rows * self.config.target_candidates if self.config.gamma else 0
        noise = Noise(
            next=local_rows(torch.randn(draws, ahead, self.action_dim, generator=rng), 1),
            level=local_rows(torch.randint(self.config.diffusion_steps, (rows,), generator=rng)),
            eps=local_rows(torch.randn(rows, self.action_dim, generator=rng)),
        )
        return Noise(*(part.to(self.device, non_blocking=True) for part in noise))

    def critic_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """Squared TD error of every critic; returns (loss, absolute TD error (B,), metrics)."""
        (now, then), real, gamma = histories(batch), batch.mask[:, 0], self.config.gamma
        q = self.critic.head(self.context(self.critic.encoder, now), self.flat_actions(batch))  # (E, B)

        # Bootstrap at o_{t+k}; without a discount nothing is left of it, and no chain is run.
        with torch.no_grad():
            next_q = self.next_value(then, noise.next) if gamma else torch.zeros_like(q[0])  # (B,)
            y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, next_q, gamma)

        loss = masked_mean((q - y).square().sum(0), real, batch.weight)
        return loss, *td_report(loss, q, y, real)

    def next_value(self, then: History, noise: Tensor) -> Tensor:
        """Return min_j Q'_j (B,) of the target actor's action; each critic first takes its best candidate."""
        context, view = self.context(self.ema_actor.encoder, then), self.context(self.target.encoder, then)
        policy, count = self.ema_actor.head.sample, self.config.target_candidates
        return best_next_value(policy, self.target.head, context, view, noise, count)

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Regress eps - eta clamp(ratio g); critics get no gradient."""
        (now, _), weight = histories(batch), batch.weight[:, None]
        context = self.context(self.actor.encoder, now)
        with torch.no_grad():
            view = self.context(self.critic.encoder, now)
        return guided_loss(
            self.config, self.actor.head, lambda x0: self.pessimistic(view, x0, batch), context,
            self.flat_actions(batch), noise.level, noise.eps, batch.mask[:, :1], weight, self.config.ratio,
        )  # fmt: skip

    def pessimistic(self, view: Tensor, actions: Tensor, batch: SequenceBatch) -> Tensor:
        """Return min_j Q_j / q_scale (B,)."""
        q = self.critic.head(view, actions).amin(0)
        if self.config.q_scale == "mean":
            q = q / (masked_mean(q.detach().abs(), batch.mask[:, 0], batch.weight) + 1)
        return q

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """One step of the critic, one of the actor that it guides, then the targets."""
        policy, values = by_role(batch)
        critic_loss, td_error, critic_metrics = self.critic_loss(values, noise)
        critic_norm = self.critic_optimiser.step(critic_loss)
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
        return actor.head, self.context(actor.encoder, history)

    @torch.no_grad()
    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Draw one of the actor's candidates by softmax over min_j Q'_j, with `explore` or without."""
        config, rows, filled = self.config, len(rng), padded_history(history)
        policy, context = proposer(self, filled)
        view = self.context(self.target.encoder, filled)[:rows]
        actions, q = valued_candidates(
            policy, self.target.head, context[:rows], view, config.candidates, self.action_dim, rng
        )  # (V, C, act), (E, V, C)
        return choose(actions, q, config.temperature, rng)[:, None]  # (V, 1, act)

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the Q of every critic (E, V)."""
        return self.target.head(self.context(self.target.encoder, history), actions.flatten(1))
