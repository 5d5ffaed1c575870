"""Stratified Q-learning: Diffusion-QL with a second actor that clones good episodes alone.

    selected    : rows of good episodes, by merit (store/merit.py); or, with judge=critic, as published,
                  score above the (1 - f) quantile of its cluster, f rising over the run
    score(o, a) = min_j Q'_j(c, a) - mean of that over the state's cluster, Q' as it was at the last labelling
    L_first     = mean (eps_net(x_i, i, c) - eps)^2 + eta L_q
    L_second    = mean over selected rows of (a_net(x_i, i, c) - a)^2 + second_q eta L_q over all rows
    L_q         = -mean Q_p(c, a_pi) / mean |Q_q(c, a_pi)|, a_pi of the actor in question
    y           = R_k + gamma^k (1 - terminated) min_j Q'_j(c_{t+k}, a'), a' of the first actor

The second actor acts and is evaluated; the first feeds the critic.  As published its network gives
the noise too (second_predicts), and second_q is 1.  What is good is judged on a subsample: of merits the last
ones seen, of the critic a fixed one.

Paper: none; code by RDG0818.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.candidates import choose, padded_history, valued_candidates
from trajrl.agents.base.checks import at_least_one, not_negative, one_of, shares
from trajrl.agents.base.diffusion_config import DiffusionConfig
from trajrl.agents.base.learner import BOTH, Metrics, TargetActorLearner, histories, td_report
from trajrl.agents.base.merit_split import MeritSplit
from trajrl.agents.base.networks import build_actor, build_critics
from trajrl.agents.base.proposer import proposer
from trajrl.agents.base.protocol import Batches, History, by_role, history_of
from trajrl.agents.base.strata import THRESHOLDS, Strata
from trajrl.agents.presets.diffusion_ql import DEMO, of_environment
from trajrl.core.distributed import all_gather_rows, local_rows, whole_rows
from trajrl.nets.denoiser import DiffusionPolicy
from trajrl.nets.ensemble import draw_pair
from trajrl.nets.solvers import PREDICTS
from trajrl.nets.targets import best_next_value, copy_of, follow, masked_mean, td_target
from trajrl.store.window import SequenceBatch, WindowSpec

SMALLEST_Q = 1e-6  # floor of mean |Q| where it divides
JUDGES = ("trajectory", "critic")
DEFAULT_FRACTION_STEPS = 250_000  # where neither the config nor the length of the run says


@dataclass(frozen=True)
class Config(DiffusionConfig):
    """Defaults are those of Diffusion-QL; the second actor clones what is above the split of merits."""

    judge: str = "trajectory"  # what is judged: the whole trajectory, or each row by the critic, in clusters
    eta: float = 1.0  # weight of the Q term; raising it: bolder, further from the data
    second_q: float = 0.0  # that of the second actor, in units of eta; raising it: further from good rows
    second_predicts: str = "action"  # what the second actor's network gives: action, or noise: wider
    clusters: int = 10  # of states (critic), each judged by itself; raising it: fairer, noisier.  1: none
    components: int = 0  # principal components of the states kept for clustering; 0: no projection
    subsample: int = 8_192  # rows judged: the last ones seen, or the first (critic); raising it: steadier
    refresh_every: int = 1_000  # updates between two labellings; raising it: cheaper, staler
    fraction_start: float = 0.1  # share of each cluster selected at first (critic); raising it: closer to all
    fraction_end: float = 0.5  # and at the end
    fraction_steps: int = 0  # updates from start to end, 0: a quarter of the run
    threshold: str = "cluster_mean"  # what a good row beats: cluster_mean, global_mean or cluster_quantile
    share: float = 0.0  # of good rows (not of means); raising it: more rows are good.  0: estimated
    target_candidates: int = 1  # next actions of which each critic backs up its best; raising it: optimism

    def validate(self) -> None:
        """Check what can be checked without data."""
        super().validate()
        one_of(self, threshold=THRESHOLDS, judge=JUDGES, second_predicts=PREDICTS)
        at_least_one(self, "clusters", "subsample", "refresh_every", "target_candidates")
        shares(self, "fraction_start", "fraction_end", "share")
        not_negative(self, "components", "fraction_steps", "second_q")

    @property
    def spec(self) -> WindowSpec:
        """Return the windows it learns from, with the merit of their episodes where that is judged by."""
        return replace(super().spec, merit=self.judge == "trajectory")

    def fraction(self, update: int) -> float:
        """Return f, the share of each cluster that is selected after `update` updates."""
        span = self.fraction_steps or self.decay_steps // 4 or DEFAULT_FRACTION_STEPS
        return self.fraction_start + min(1.0, update / span) * (self.fraction_end - self.fraction_start)


SCALED = {"normalize_obs": True}  # a walker's good quarter cloned by bc_diffusion: 57 so, 19 raw
PRESETS: dict[str, dict[str, Any]] = {
    "demo": {**DEMO, **SCALED},
    "paper": {
        "act_ema": False, "ema_before": "initial", "decay": "as_run", "judge": "critic",
        "fraction_start": 0.0, "fraction_steps": 250_000, "second_q": 1.0, "second_predicts": "noise",
    },
    "standard": SCALED,
}  # fmt: skip


def preset(name: str, env: str) -> dict[str, Any]:
    """Return the settings of preset `name`; `paper` takes what was published for Diffusion-QL there."""
    if name != "paper":
        return dict(PRESETS[name])
    table = of_environment(env)
    best_of_next = {"target_candidates": 10} if table.pop("max_q_backup", False) else {}
    return {**PRESETS[name], **table, **best_of_next}


class Noise(NamedTuple):
    """All the randomness of one update.  A policy sample takes `draws` tensors, K for ddpm."""

    next: Tensor  # (draws, B M, act) for the M next actions of each row; no rows without a discount
    level: Tensor  # (B,) diffusion level of the cloning terms
    eps: Tensor  # (B, act) their noise
    policy: Tensor  # (draws, B, act) for the actions that maximise Q, of both actors
    pair: Tensor  # (2,) the critic to maximise, and the one whose mean absolute value is the scale


class StratifiedQL(TargetActorLearner):
    """Diffusion Q-learning with a second actor, on windows of trajectories."""

    config: Config
    roles = BOTH
    apart = ("select",)

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        size = obs_dim, action_dim, self.init_rng
        self.actor, self.ema_actor = self.with_copy("actor", "ema_actor", build_actor(config, *size))
        second = build_actor(config, *size, predicts=config.second_predicts)
        self.second, self.ema_second = self.with_copy("second", "ema_second", second)
        self.critic, self.target = self.with_copy("critic", "target", build_critics(config, *size))
        actor = config.actor_lr, config.actor_clip  # of both
        self.actor_optimiser = self.adam("actor_optimiser", *actor, self.actor)
        self.second_optimiser = self.adam("second_optimiser", *actor, self.second)
        self.critic_optimiser = self.adam(
            "critic_optimiser", config.critic_lr, config.critic_clip, self.critic
        )
        if config.judge == "trajectory":
            self.merits = self.part("merits", MeritSplit(config.subsample, config.share, self.device))
        else:
            self.judging = self.part("judging", copy_of(self.critic))  # the target at the last labelling
            seed = int(options.get("seed", 0))
            strata = Strata(config.clusters, config.components, config.subsample, seed, self.device)
            self.strata = self.part("strata", strata)

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        rows, draws = whole_rows(len(batch.steps)), self.actor.head.plan.draws
        ahead = rows * self.config.target_candidates if self.config.gamma else 0
        pair = draw_pair(self.config.critics, rng)
        noise = Noise(
            next=local_rows(torch.randn(draws, ahead, self.action_dim, generator=rng), 1),
            level=local_rows(torch.randint(self.config.diffusion_steps, (rows,), generator=rng)),
            eps=local_rows(torch.randn(rows, self.action_dim, generator=rng)),
            policy=local_rows(torch.randn(draws, rows, self.action_dim, generator=rng), 1),
            pair=pair,
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
        """Return min_j Q'_j (B,) of the first actor's average; each critic first takes its best candidate."""
        context, view = self.context(self.ema_actor.encoder, then), self.context(self.target.encoder, then)
        policy, count = self.ema_actor.head.sample, self.config.target_candidates
        return best_next_value(policy, self.target.head, context, view, noise, count)

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Clone every row and maximise Q: the first actor is that of Diffusion-QL."""
        policy, context = self.actor.head, self.context(self.actor.encoder, histories(batch)[0])
        bc_loss = self.cloning_loss(policy, context, batch, noise, batch.mask[:, 0])
        q_loss = self.q_loss(policy, context, batch, noise)
        return bc_loss + self.config.eta * q_loss, {"actor/bc_loss": bc_loss, "actor/q_loss": q_loss}

    def second_loss(self, batch: SequenceBatch, noise: Noise, chosen: Tensor) -> tuple[Tensor, Metrics]:
        """Clone the selected rows, `chosen` (B,), and where asked maximise Q on every row."""
        policy, context = self.second.head, self.context(self.second.encoder, histories(batch)[0])
        weight, real = self.config.second_q * self.config.eta, batch.mask[:, 0]
        loss = bc_loss = self.cloning_loss(policy, context, batch, noise, chosen & real)
        found = {"second/bc_loss": bc_loss, "second/selected_share": masked_mean(chosen.float(), real)}
        if weight:
            found["second/q_loss"] = q_loss = self.q_loss(policy, context, batch, noise)
            loss = bc_loss + weight * q_loss
        return loss, found

    def cloning_loss(
        self, policy: DiffusionPolicy, context: Tensor, batch: SequenceBatch, noise: Noise, cloned: Tensor
    ) -> Tensor:
        """Let the network give what it is to give, mean over the rows cloned (B,); 0 without any."""
        error = policy.error(self.flat_actions(batch), noise.level, noise.eps, context).square()  # (B, act)
        return masked_mean(error, cloned[:, None], batch.weight[:, None])

    def q_loss(self, policy: DiffusionPolicy, context: Tensor, batch: SequenceBatch, noise: Noise) -> Tensor:
        """Maximise one critic; another's mean absolute value sets the scale; critics get no gradient."""
        (now, _), real = histories(batch), batch.mask[:, 0]
        with torch.no_grad():
            view = self.context(self.critic.encoder, now)
        sampled = policy.sample(context, noise.policy)
        mean_q = masked_mean(self.critic.head(view, sampled, noise.pair[:1])[0], real, batch.weight)
        with torch.no_grad():
            other = self.critic.head(view, sampled, noise.pair[1:])[0]
            scale = masked_mean(other.abs(), real, batch.weight).clamp(min=SMALLEST_Q)
        return -mean_q / scale

    @torch.no_grad()
    def judge(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Return the score (V,) of windows and whether they are good (V,), by the last labelling."""
        if batch.merit is not None:
            return batch.merit, self.merits.good(batch.merit)
        history = history_of(batch)
        score, cluster = self.strata.score(history.obs[:, -1], self.judged_value(history, batch.actions))
        return score, score > self.strata.good_above[cluster]

    @torch.no_grad()
    def select(self, batch: SequenceBatch) -> Tensor:
        """Return which rows (B,) the second actor clones; label anew when due."""
        real, due = batch.mask[:, 0], self.updates % self.config.refresh_every == 0
        if batch.merit is None:
            return real & self.above_the_quantile(batch, due)
        self.merits.take(all_gather_rows(batch.merit), all_gather_rows(real), due)
        return real & self.merits.good(batch.merit)

    def above_the_quantile(self, batch: SequenceBatch, due: bool) -> Tensor:
        """Return which rows (B,) are among the best of their cluster by the critic; label anew when due."""
        config, (now, _), real = self.config, histories(batch), batch.mask[:, 0]
        actions = torch.where(batch.action_mask[..., None], batch.actions, 0.0)
        grown = self.strata.is_open and self.strata.take(
            now.each(all_gather_rows), all_gather_rows(actions), all_gather_rows(real)
        )  # rows of the whole batch: every process holds the same subsample
        if self.strata.size and (grown or due):
            follow(self.judging.parameters(), self.target.parameters(), 1.0)
            q = self.judged_value(self.strata.history, self.strata.actions)
            self.strata.judge(q, config.fraction(self.updates), config.threshold, config.share)
        if not self.strata.judged:
            return torch.zeros_like(real)
        score, cluster = self.strata.score(now.obs[:, -1], self.judged_value(now, actions))
        return score > self.strata.select_above[cluster]

    def judged_value(self, history: History, actions: Tensor) -> Tensor:
        """Return min_j Q_j (V,) of actions (V, 1, act) under the critic that the strata were judged with."""
        return self.judging.head(self.context(self.judging.encoder, history), actions[:, 0]).amin(0)

    def stage(self) -> Hashable:
        """Return None: rows are judged on the host, and limits replaced, while training continues."""
        return None

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """Critic, first actor, second actor on what is selected, then the targets.

        Strata are of the policy's rows, of which the second actor clones some.
        """
        policy, values = by_role(batch)
        critic_loss, td_error, found = self.critic_loss(values, noise)
        found["critic/grad_norm"] = self.critic_optimiser.step(critic_loss)
        actor_loss, metrics = self.actor_loss(policy, noise)
        found |= {**metrics, "actor/grad_norm": self.actor_optimiser.step(actor_loss)}
        second_loss, metrics = self.second_loss(policy, noise, self.select(policy))
        found |= {**metrics, "second/grad_norm": self.second_optimiser.step(second_loss)}
        self.follow()
        return found, td_error

    def follow(self) -> None:
        """Move both averages every few updates, the target critic at every one."""
        follow(self.ema_actor.parameters(), self.actor.parameters(), self.speed)
        follow(self.ema_second.parameters(), self.second.parameters(), self.speed)
        follow(self.target.parameters(), self.critic.parameters(), self.config.tau)

    def acting_chain(self, history: History) -> tuple[DiffusionPolicy, Tensor]:
        """Return the policy that acts, and its context (V, ctx)."""
        actor = self.ema_second if self.config.act_ema else self.second
        return actor.head, self.context(actor.encoder, history)

    @torch.no_grad()
    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Draw one of the second actor's candidates by softmax over min_j Q'_j, with `explore` or without."""
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
