"""EDP: efficient diffusion policies.  The actor's loss sees one denoised action a0 instead of a whole chain.

    x_i   = sqrt(abar_i) a + sqrt(1 - abar_i) eps          a0 = clip(x0hat(x_i), -1, 1), same x_i and i
    L_pi  = mean |eps_hat - eps|^2 + L_q                   by q_term:
    td3   L_q = -eta / sg(mean |Q_p(c, a0)|) mean Q_p(c, a0), p by a fair coin
    crr   L_q = -mean w log p,  w = min(cap, exp(eta adv)), adv = min_j Q_j(c, a) - mean_m min_j Q_j(c, a_m)
    iql   L_q = -mean w log p,  adv = min_j Q'_j(c, a) - V(c),  y = R_k + gamma^k (1 - terminated) V(c_{t+k})
    awr   L_pi = mean w |eps_hat - eps|^2, w = B softmax over the batch of eta adv, adv as in crr

a_m ~ N(a0, I); log p is that of N(a; a0, I) or the level's share of the evidence bound.

Paper: Kang et al. 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, pi
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.candidates import choose, padded_history, valued_candidates
from trajrl.agents.base.checks import above_zero, at_least_one, one_of
from trajrl.agents.base.diffusion_config import DiffusionConfig
from trajrl.agents.base.learner import BOTH, Metrics, TargetActorLearner, histories, td_report
from trajrl.agents.base.networks import build_actor, build_critics, build_encoder
from trajrl.agents.base.proposer import proposer
from trajrl.agents.base.protocol import Batches, History, by_role
from trajrl.agents.presets.edp import PRESETS, preset
from trajrl.core.distributed import all_gather_rows, local_rows, whole_rows
from trajrl.nets.denoiser import DiffusionPolicy
from trajrl.nets.diffusion import level_weights
from trajrl.nets.history import HistoryNet
from trajrl.nets.mlp import MLP
from trajrl.nets.targets import best_next_value, follow, masked_mean, td_target
from trajrl.store.window import SequenceBatch

Q_TERMS = ("awr", "crr", "iql", "td3")
SMALLEST_Q = 1e-6  # floor of mean |Q| where it divides

__all__ = ["EDP", "PRESETS", "Config", "Noise", "preset"]


@dataclass(frozen=True)
class Config(DiffusionConfig):
    """Defaults are the published ones: TD3's Q term, sampling by DPM-Solver in 15 evaluations."""

    q_term: str = "td3"  # how Q improves the policy: td3 maximises it; crr, iql, awr weigh by advantage
    eta: float = 2.0  # td3: weight of Q (alpha); else inverse temperature (published: crr 1, iql 3)
    weigh: str = "exp"  # weight of an advantage (crr, iql): exp, or step, 1 where it is above 0
    weight_cap: float = 20.0  # bound of exp (published: crr 20, iql 100); raising it: greedier, noisier
    adv_norm: bool = False  # True: weights are a softmax over the batch instead (crr, iql)
    log_p: str = "mle"  # density that is weighed (crr, iql): mle, a Gaussian around a0, or elbo
    adv_samples: int = 10  # actions around a0 that give the value (crr, awr); raising it: steadier, slower
    expectile: float = 0.7  # of V (iql); raising it: V nearer to the best action's value
    action_clip: float = 0.999  # the data's actions are cut to this bound
    diffusion_steps: int = 1000  # K; raising it: finer actions; with dpm neither acting nor learning slows
    schedule: str = "linear_scaled"  # how noise grows over the levels: vp, cosine, linear or linear_scaled
    solver: str = "dpm"  # how actions are sampled: ddpm, ddim, or dpm for K of a hundred and more
    solver_steps: int = 15  # network calls per sample, 0: the solver's own choice; raising it: finer, slower
    target_candidates: int = 1  # next actions of which each critic backs up its best; raising it: optimism

    def validate(self) -> None:
        """Check what can be checked without data."""
        super().validate()
        one_of(self, q_term=Q_TERMS, weigh=("exp", "step"), log_p=("mle", "elbo"))
        at_least_one(self, "target_candidates", "adv_samples")
        above_zero(self, "weight_cap")
        if not 0 < self.expectile < 1 or not 0 < self.action_clip <= 1:
            got = f"{self.expectile} and {self.action_clip}"
            raise ValueError(f"expectile lies between 0 and 1, action_clip in (0, 1]; got {got}")


class Noise(NamedTuple):
    """All the randomness of one update.  A policy sample takes `draws` tensors, K for ddpm, 1 for dpm."""

    next: Tensor  # (draws, B M, act) for the M next actions of each row; no rows where none is needed
    level: Tensor  # (B,) diffusion level, of the cloning term and of a0 alike
    eps: Tensor  # (B, act) its noise
    around: Tensor  # (B, m, act) N(0, I) around a0, for the advantage
    pick: Tensor  # (1,) the critic that td3 maximises


class EDP(TargetActorLearner):
    """Efficient diffusion policy on windows of trajectories."""

    config: Config
    roles = BOTH

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        size = obs_dim, action_dim, self.init_rng
        actor = build_actor(config, *size, cos_first=True)
        self.actor, self.ema_actor = self.with_copy("actor", "ema_actor", actor)
        self.critic, self.target = self.with_copy("critic", "target", build_critics(config, *size))
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, self.actor)
        self.critic_optimiser = self.adam(
            "critic_optimiser", config.critic_lr, config.critic_clip, self.critic
        )
        share = torch.tensor(level_weights(self.actor.head.diffusion.abar))  # (K,)
        self.bound_weight = share.float().to(self.device)
        if config.q_term == "iql":
            encoder = build_encoder(config, *size, config.history)
            hidden = (config.width,) * config.depth
            head = MLP(encoder.context_dim, hidden, 1, self.init_rng, activation=config.activation)
            self.value_net = self.part("value", HistoryNet(encoder, head))
            rate = config.critic_lr, config.critic_clip
            self.value_optimiser = self.adam("value_optimiser", *rate, self.value_net)

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        config, rows = self.config, whole_rows(len(batch.steps))
        draws, act = self.actor.head.plan.draws, self.action_dim
        ahead = rows * config.target_candidates if self.runs_chain else 0
        noise = Noise(
            next=local_rows(torch.randn(draws, ahead, act, generator=rng), 1),
            level=local_rows(torch.randint(config.diffusion_steps, (rows,), generator=rng)),
            eps=local_rows(torch.randn(rows, act, generator=rng)),
            around=local_rows(torch.randn(rows, config.adv_samples, act, generator=rng)),
            pick=torch.randint(config.critics, (1,), generator=rng),
        )
        return Noise(*(part.to(self.device, non_blocking=True) for part in noise))

    @property
    def runs_chain(self) -> bool:
        """Say whether targets need samples of the policy."""
        return self.config.gamma > 0 and self.config.q_term != "iql"

    def value_loss(self, batch: SequenceBatch) -> tuple[Tensor, Metrics]:
        """Expectile regression of V on min_j Q'_j of the data's action (iql)."""
        (now, _), real = histories(batch), batch.mask[:, 0]
        gap = self.data_value(batch, now) - self.state_value(now)  # (B,)
        weight = torch.where(gap > 0, self.config.expectile, 1 - self.config.expectile)
        loss = masked_mean(weight * gap.square(), real, batch.weight)
        return loss, {"value/loss": loss, "value/gap": masked_mean(gap, real)}

    def data_value(self, batch: SequenceBatch, now: History) -> Tensor:
        """Return min_j Q'_j (B,) of the data's action."""
        with torch.no_grad():
            return self.target.head(self.context(self.target.encoder, now), self.flat_actions(batch)).amin(0)

    def state_value(self, history: History) -> Tensor:
        """Return V (B,)."""
        return self.value_net.head(self.context(self.value_net.encoder, history))[:, 0]

    def critic_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """Squared TD error of every critic; returns (loss, absolute TD error (B,), metrics)."""
        (now, then), real, gamma = histories(batch), batch.mask[:, 0], self.config.gamma
        q = self.critic.head(self.context(self.critic.encoder, now), self.flat_actions(batch))  # (E, B)

        # Bootstrap at o_{t+k}: V where there is one; without a discount nothing, and no chain is run.
        with torch.no_grad():
            if self.config.q_term == "iql":
                next_q = self.state_value(then)  # (B,)
            else:
                next_q = self.next_value(then, noise.next) if gamma else torch.zeros_like(q[0])
            y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, next_q, gamma)

        loss = masked_mean((q - y).square().sum(0), real, batch.weight)
        return loss, *td_report(loss, q, y, real)

    def next_value(self, then: History, noise: Tensor) -> Tensor:
        """Return min_j Q'_j (B,) of the target actor's action; each critic first takes its best candidate."""
        context, view = self.context(self.ema_actor.encoder, then), self.context(self.target.encoder, then)
        policy, count = self.ema_actor.head.sample, self.config.target_candidates
        return best_next_value(policy, self.target.head, context, view, noise, count)

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Cloning term and Q term, both of one noisy action per row; critics get no gradient."""
        config, (now, _), policy = self.config, histories(batch), self.actor.head
        actions, real, rows = self.flat_actions(batch), batch.mask[:, 0], batch.weight
        context = self.context(self.actor.encoder, now)

        # L_diff: predict the noise; per-row mean over the action, then the batch's.
        x = policy.diffusion.q_sample(actions, noise.level, noise.eps)
        eps_hat = policy.predict(x, noise.level, context)
        error = (eps_hat - noise.eps).square().mean(1)  # (B,)
        diff_loss = masked_mean(error, real, rows)
        metrics = {"actor/bc_loss": diff_loss}

        # a0, from the same x_i and i.  Gradient flows through it, in one step.
        a0 = policy.diffusion.x0_hat(x, noise.level, eps_hat).clamp(-1, 1)  # (B, act)
        if config.q_term == "td3":
            with torch.no_grad():
                view = self.context(self.critic.encoder, now)
            q = self.critic.head(view, a0, noise.pick)[0]  # (B,)
            scale = config.eta / masked_mean(q.detach().abs(), real, rows).clamp(min=SMALLEST_Q)
            q_loss = -scale * masked_mean(q, real, rows)
            return diff_loss + q_loss, {**metrics, "actor/q_loss": q_loss, "actor/q_scale": scale}

        # Weights by advantage; no gradient.
        adv = self.advantage(batch, now, actions, a0.detach(), noise.around)  # (B,)
        weight = self.weights(adv, real, rows)
        metrics |= {
            "actor/advantage": masked_mean(adv, real), "actor/weight": masked_mean(weight, real),
            "actor/weight_max": all_gather_rows(weight).amax(),
            "actor/capped_share": masked_mean((weight >= config.weight_cap).float(), real),
        }  # fmt: skip
        if config.q_term == "awr":
            loss = masked_mean(weight * error, real, rows)
            return loss, {**metrics, "actor/q_loss": loss - diff_loss}

        # log p of the data's action, weighed.
        if config.log_p == "mle":
            log_p = -0.5 * (actions - a0).square().sum(1) - 0.5 * self.action_dim * log(2 * pi)
        else:
            log_p = -self.bound_weight[noise.level] * error
        q_loss = -masked_mean(weight * log_p, real, rows)
        return diff_loss + q_loss, {**metrics, "actor/q_loss": q_loss}

    @torch.no_grad()
    def advantage(
        self, batch: SequenceBatch, now: History, actions: Tensor, a0: Tensor, around: Tensor
    ) -> Tensor:
        """Return the advantage (B,) of the data's actions (B, act)."""
        if self.config.q_term == "iql":
            return self.data_value(batch, now) - self.state_value(now)
        view = self.context(self.critic.encoder, now)  # (B, ctx)
        near = a0[:, None] + around  # (B, m, act), not clipped
        value = self.critic.head(view[:, None].expand(-1, near.shape[1], -1), near).amin(0).mean(1)  # (B,)
        return self.critic.head(view, actions).amin(0) - value

    def weights(self, adv: Tensor, real: Tensor, rows: Tensor) -> Tensor:
        """Return the weight (B,) of each row from its advantage; padding weighs nothing.

        Args:
            rows: the rows' importance weights (B,), under which a softmax sums to 1
        """
        config = self.config
        if config.adv_norm or config.q_term == "awr":
            logits = torch.where(real, config.eta * adv, -torch.inf)
            total = torch.logsumexp(all_gather_rows(logits + rows.log()), 0)
            share = torch.where(real & torch.isfinite(total), (logits - total).exp(), 0.0)
            return share * all_gather_rows(real).sum() if config.q_term == "awr" else share
        if config.weigh == "step":
            return (real & (adv > 0)).float()
        return torch.where(real, (config.eta * adv).exp().clamp(max=config.weight_cap), 0.0)

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """Critic, then actor, then the targets; under iql V, then actor, then critic."""
        policy, values = by_role(batch)
        found: Metrics = {}
        if self.config.q_term == "iql":
            value_loss, found = self.value_loss(values)
            found["value/grad_norm"] = self.value_optimiser.step(value_loss)
            found |= self.step_actor(policy, noise)
        critic_loss, td_error, metrics = self.critic_loss(values, noise)
        found |= {**metrics, "critic/grad_norm": self.critic_optimiser.step(critic_loss)}
        if self.config.q_term != "iql":
            found |= self.step_actor(policy, noise)
        self.follow()
        return found, td_error

    def step_actor(self, batch: SequenceBatch, noise: Noise) -> Metrics:
        """Take one step of the actor."""
        loss, metrics = self.actor_loss(batch, noise)
        return {**metrics, "actor/loss": loss, "actor/grad_norm": self.actor_optimiser.step(loss)}

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
        """Draw one of the actor's candidates by softmax over min_j Q_j, with `explore` or without."""
        config, rows, filled = self.config, len(rng), padded_history(history)
        policy, context = proposer(self, filled)
        view = self.context(self.critic.encoder, filled)[:rows]
        actions, q = valued_candidates(
            policy, self.critic.head, context[:rows], view, config.candidates, self.action_dim, rng
        )  # (V, C, act), (E, V, C)
        return choose(actions, q, config.temperature, rng)[:, None]  # (V, 1, act)

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the Q of every critic (E, V)."""
        return self.target.head(self.context(self.target.encoder, history), actions.flatten(1))

    def flat_actions(self, batch: SequenceBatch) -> Tensor:
        """Return the action (B, act), cut to the bound, zero where there is none."""
        return super().flat_actions(batch).clamp(-self.config.action_clip, self.config.action_clip)
