"""QG: Q-guided score matching.  The denoiser regresses noise shifted against the gradient of Q; no chain.

    x_i   = sqrt(abar) a + sqrt(1 - abar) eps        x0 = (x_i - sqrt(1 - abar) sg(eps_hat)) / sqrt(abar)
    g     = grad_{x0} sum_b min_j Q_j(c_t, x0) / q_scale
    goal  = eps - eta clamp(ratio g, -1, 1)          w = 1 / clamp(|g|, 0.8, 5) per row
    L_pi  = mean w (eps_hat - sg(goal))^2
    y     = R_k + gamma^k (1 - terminated) min_j Q'_j(c_{t+k}, a'),   L_Q = sum_j mean (Q_j(c_t, a) - y)^2

This is the score of p_data(a) exp(eta Q) with a one-sample estimate of the clean action.  c_t is the
observation, or with history > 1 what a GRU makes of the last H of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.acting import choose, draw_candidates, padded_history, repeated
from trajrl.agents.learner import Learner, Metrics, histories
from trajrl.agents.networks import Actor, build_actor, build_critics
from trajrl.agents.protocol import History, Update
from trajrl.nets.guidance import RATIOS, guidance, strength
from trajrl.nets.optim import Optimiser
from trajrl.nets.targets import copy_of, follow, masked_mean, td_target
from trajrl.registry import unknown
from trajrl.store.window import SequenceBatch, WindowSpec
from trajrl.team import mine, whole_rows


@dataclass(frozen=True)
class Config:
    """Defaults are the published variant x0_mean with the settings of Diffusion-QL around it."""

    eta: float = 1.0  # inverse temperature of Q; raising it: bolder, further from the data
    ratio: str = (
        "x0_mean"  # how guidance grows with noise, and where Q's gradient is taken; see nets/guidance.py
    )
    guidance_clip: float = 1.0  # bound on each entry of ratio g; raising it: stronger pull, less stable
    norm_weight: tuple[float, float] | None = (0.8, 5.0)  # rows weigh 1 / clamp(|g|, low, high); None: 1
    clamp_x0: bool = False  # True: Q sees the estimated action cut to the box
    q_scale: str = "one"  # mean: Q is divided by mean |Q| + 1, so that eta means the same in every task
    history: int = 1  # H, observations seen; above 1 a GRU of the policy and one of the critic read them
    history_actions: bool = True  # the GRUs also see the action before each observation
    gru_width: int = 128  # of the history's summary; raising it: remembers more, slower
    gru_layers: int = 1  # raising it: longer patterns, slower
    horizon: int = 1  # n, rewards before the bootstrap; raising it: values travel faster, noisier
    diffusion_steps: int = 5  # K; raising it: finer actions, slower to act, no slower to learn from
    schedule: str = "vp"  # how noise grows over the levels: vp, cosine, linear or linear_scaled
    solver: str = "ddpm"  # how actions are sampled: ddpm, ddim, or dpm for K of a hundred and more
    solver_steps: int = 0  # network calls per sample, 0: the solver's own choice; raising it: finer, slower
    target_candidates: int = 1  # next actions of which each critic backs up its best; raising it: optimism
    candidates: int = 1  # actions to choose from when acting; raising it trusts the critic more
    temperature: float = 1.0  # of that choice, in units of Q; raising it: closer to the plain policy
    act_ema: bool = True  # act with the target actor, which is steadier than the last weights
    gamma: float = 0.99  # discount per step; raising it looks further ahead
    tau: float = 0.005  # speed of the target critic; raising it: newer targets, less stable
    ema_decay: float = 0.995  # of the target actor; raising it: slower, steadier targets
    ema_every: int = 5  # updates between moves of the target actor; raising it slows it down
    ema_start: int = 1000  # updates before it averages; raising it: later averaging
    ema_before: str = "copy"  # until then it copies the policy; "initial" leaves it untrained, as published
    critics: int = 2  # size of the ensemble; raising it: more cautious values, slower updates
    width: int = 256  # of the networks; raising it: finer, slower
    depth: int = 3  # hidden layers; raising it: finer, slower
    activation: str = "mish"  # of the networks
    actor_norm: str = "none"  # layer norm in the policy: none, before or after the activation
    critic_norm: str = "none"  # layer norm in the critic; "before" steadies values of unseen actions
    actor_lr: float = 3e-4  # learning rate of the policy and its GRU
    critic_lr: float = 3e-4  # learning rate of the critic and its GRU
    actor_clip: float = 5.0  # bound on the gradient's norm, 0: none; lowering it: calmer steps
    critic_clip: float = 5.0  # the same for the critic
    decay: str = "none"  # learning rates over the run: none, or a cosine per update, epoch or as_run
    decay_steps: int = 0  # updates of that cosine; 0: the run's
    normalize_obs: bool = False  # True: observations are centred and scaled by the data's statistics

    def validate(self) -> None:
        """Check what can be checked without data; schedules, solvers and nets check their own."""
        choices = {"ratio": tuple(RATIOS), "q_scale": ("one", "mean"), "ema_before": ("copy", "initial")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(unknown(f"value of {name}", getattr(self, name), allowed))
        counts = (
            "history", "horizon", "gru_width", "gru_layers", "target_candidates", "candidates", "critics",
            "width", "depth", "ema_every",
        )  # fmt: skip
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.guidance_clip <= 0 or self.temperature < 0:
            got = f"{self.guidance_clip} and {self.temperature}"
            raise ValueError(f"guidance_clip is above 0 and temperature not below 0; got {got}")
        if self.norm_weight and not (len(self.norm_weight) == 2 and min(self.norm_weight) > 0):
            raise ValueError(f"norm_weight is null or [low, high] above 0; got {self.norm_weight}")

    @property
    def chunk(self) -> int:
        """Return N: one action at a time."""
        return 1

    @property
    def critic_chunk(self) -> int:
        """Return how many actions Q sees."""
        return 1

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from."""
        return WindowSpec(self.history, 1, self.horizon)


PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"actor_lr": 1e-3, "decay": "update", "critic_norm": "before"},
    "paper": {"act_ema": False, "ema_before": "initial", "decay": "as_run"},
    "standard": {},
}
TABLE: tuple[tuple[str, dict[str, Any]], ...] = (  # published for an environment
    ("bandit:*", {"eta": 3.0, "diffusion_steps": 100, "actor_clip": 2.0, "critic_clip": 2.0}),
)


def preset(name: str, env: str) -> dict[str, Any]:
    """Return the settings of preset `name`, and what was published for the environment."""
    return {**PRESETS[name], **next((own for pattern, own in TABLE if fnmatch(env, pattern)), {})}


class Noise(NamedTuple):
    """All the chance of one update.  A policy sample takes `draws` tensors, K for ddpm."""

    next: Tensor  # (draws, B M, act) for the M next actions of each row; no rows without a discount
    level: Tensor  # (B,) diffusion level
    eps: Tensor  # (B, act) its noise


class QG(Learner):
    """Q-guided score matching on windows of trajectories."""

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        self.config = config
        size = obs_dim, action_dim, self.init_rng
        self.actor = self.part("actor", build_actor(config, *size))
        self.ema_actor = self.part("ema_actor", copy_of(self.actor))
        self.critic = self.part("critic", build_critics(config, *size, sees_history=True))
        self.target = self.part("target", copy_of(self.critic))
        decay: dict[str, Any] = {"decay": config.decay, "decay_steps": config.decay_steps}
        self.actor_optimiser = self.part(
            "actor_optimiser",
            Optimiser(self.actor.parameters(), config.actor_lr, clip=config.actor_clip, **decay),
        )
        self.critic_optimiser = self.part(
            "critic_optimiser",
            Optimiser(self.critic.parameters(), config.critic_lr, clip=config.critic_clip, **decay),
        )

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the chance of one update, on the CPU, so that every device sees the same."""
        rows, draws = whole_rows(len(batch.steps)), self.actor.head.plan.draws
        ahead = rows * self.config.target_candidates if self.config.gamma else 0
        noise = Noise(
            next=mine(torch.randn(draws, ahead, self.action_dim, generator=rng), 1),
            level=mine(torch.randint(self.config.diffusion_steps, (rows,), generator=rng)),
            eps=mine(torch.randn(rows, self.action_dim, generator=rng)),
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

        td = q - y  # (E, B)
        loss = masked_mean(td.square().sum(0), real, batch.weight)
        td_error = torch.where(real, td.detach().abs().mean(0), 0.0)  # (B,)
        metrics = {
            "critic/loss": loss, "critic/q_mean": masked_mean(q, real),
            "critic/td_abs": masked_mean(td_error, real), "critic/target_mean": masked_mean(y, real),
        }  # fmt: skip
        return loss, td_error, metrics

    def next_value(self, then: History, noise: Tensor) -> Tensor:
        """Return min_j Q'_j (B,) of the target actor's action; each critic first takes its best candidate."""
        count = self.config.target_candidates
        context = self.context(self.ema_actor.encoder, then).repeat_interleave(count, 0)  # (B M, ctx)
        view = self.context(self.target.encoder, then).repeat_interleave(count, 0)
        q = self.target.head(view, self.ema_actor.head.sample(context, noise))  # (E, B M)
        return q.unflatten(1, (-1, count)).amax(2).amin(0)

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Regress eps - eta clamp(ratio g); critics get no gradient."""
        config, (now, _), policy = self.config, histories(batch), self.actor.head
        actions, real = self.flat_actions(batch), batch.mask[:, :1]  # (B, act), (B, 1)
        context = self.context(self.actor.encoder, now)
        with torch.no_grad():
            view = self.context(self.critic.encoder, now)

        # One noisy action per row, and the denoiser's word on it.
        x = policy.diffusion.q_sample(actions, noise.level, noise.eps)
        eps_hat = policy.predict(x, noise.level, context)  # (B, act)

        # Guidance.  The gradient of Q stops at the estimate: nothing flows back through eps_hat.
        g = guidance(
            lambda x0: self.pessimistic(view, x0, batch), policy.diffusion, actions, x, noise.level, eps_hat,
            config.ratio, config.clamp_x0,
        )  # fmt: skip
        bound = config.guidance_clip
        pull = (strength(policy.diffusion, noise.level, config.ratio) * g).clamp(-bound, bound)
        goal = noise.eps - config.eta * pull

        # Regression, rows weighed by the size of g.
        weight, size = batch.weight[:, None], torch.linalg.vector_norm(g, dim=1, keepdim=True)  # (B, 1)
        if config.norm_weight:
            weight = weight / size.clamp(*config.norm_weight)
        loss = masked_mean((eps_hat - goal).square(), real, weight)

        rec = masked_mean((eps_hat - noise.eps).square(), real, batch.weight[:, None])
        clipped = masked_mean((pull.abs() >= bound).float(), real)
        metrics = {
            "actor/loss": loss, "actor/bc_loss": rec, "actor/guidance": masked_mean(size, real),
            "actor/clipped_share": clipped,
        }  # fmt: skip
        return loss, metrics

    def pessimistic(self, view: Tensor, actions: Tensor, batch: SequenceBatch) -> Tensor:
        """Return min_j Q_j / q_scale (B,)."""
        q = self.critic.head(view, actions).amin(0)
        if self.config.q_scale == "mean":
            q = q / (masked_mean(q.detach().abs(), batch.mask[:, 0], batch.weight) + 1)
        return q

    def update(self, batch: SequenceBatch, rng: torch.Generator) -> Update:
        """One step of the critic, one of the actor that it guides, then the targets."""
        noise = self.draw_noise(batch, rng)
        critic_loss, td_error, critic_metrics = self.critic_loss(batch, noise)
        critic_norm = self.critic_optimiser.step(critic_loss)
        actor_loss, actor_metrics = self.actor_loss(batch, noise)
        actor_norm = self.actor_optimiser.step(actor_loss)
        self.follow()
        norms = {"critic/grad_norm": critic_norm, "actor/grad_norm": actor_norm}
        found = {**critic_metrics, **actor_metrics, **norms}
        return Update({name: value.detach() for name, value in found.items()}, td_error)

    def follow(self) -> None:
        """Move the target actor every few updates, the target critic at every one, and count the update."""
        config = self.config
        if self.updates % config.ema_every == 0:
            if self.updates >= config.ema_start:
                follow(self.ema_actor.parameters(), self.actor.parameters(), 1 - config.ema_decay)
            elif config.ema_before == "copy":
                follow(self.ema_actor.parameters(), self.actor.parameters(), 1.0)
        follow(self.target.parameters(), self.critic.parameters(), config.tau)
        self.updates += 1

    @torch.no_grad()
    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Draw one of the actor's candidates by softmax over min_j Q'_j, with `explore` or without."""
        actor, rows, count = self.acting_policy(), len(history.obs), self.config.candidates
        filled = padded_history(history)
        context = repeated(self.context(actor.encoder, filled)[:rows], count)
        view = repeated(self.context(self.target.encoder, filled)[:rows], count)
        actions = draw_candidates(actor.head, context, count, self.action_dim, rng)  # (rows, act)
        q = self.target.head(view, actions).amin(0)[: rows * count].view(rows, count)
        found = actions[: rows * count].view(rows, count, self.action_dim)
        return choose(found, q, self.config.temperature, rng)[:, None]  # (V, 1, act)

    @torch.no_grad()
    def value(self, history: History, actions: Tensor) -> Tensor:
        """Return min_j Q'_j (V,) of actions (V, 1, act)."""
        return self.values(history, actions).amin(0)

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the Q of every critic (E, V)."""
        return self.target.head(self.context(self.target.encoder, history), actions.flatten(1))

    def acting_policy(self) -> Actor:
        """Return the policy that acts."""
        return self.ema_actor if self.config.act_ema else self.actor

    def flat_actions(self, batch: SequenceBatch) -> Tensor:
        """Return the action (B, act), zero where there is none."""
        return torch.where(batch.action_mask, batch.actions[:, 0], 0.0)
