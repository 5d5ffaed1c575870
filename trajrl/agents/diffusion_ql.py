"""Diffusion-QL: a diffusion policy that clones behaviour and maximises Q through its whole reverse chain.

    y    = r + gamma (1 - terminated) min_j Q'_j(o', a'),   a' from the slowly following actor at o'
    L_Q  = sum_j mean (Q_j(o, a) - y)^2
    L_pi = mean (eps_net(x_i, i, o) - eps)^2  +  eta L_q,   L_q = -mean Q_p(o, a_pi) / mean |Q_q(o, a_pi)|

Paper: Wang et al. 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.candidates import choose, valued_candidates
from trajrl.agents.base.learner import BOTH, Metrics, TargetActorLearner, td_report
from trajrl.agents.base.networks import check
from trajrl.agents.base.proposer import proposer
from trajrl.agents.base.protocol import Batches, History, by_role
from trajrl.agents.presets.diffusion_ql import DEMO, first_match, of_environment
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.denoiser import Denoiser, DiffusionPolicy
from trajrl.nets.diffusion import Diffusion
from trajrl.nets.ensemble import Critic, draw_pair
from trajrl.nets.targets import best_next_value, follow, masked_mean, td_target
from trajrl.store.window import SequenceBatch, WindowSpec


@dataclass(frozen=True)
class Config:
    """Defaults are the published ones for a task without settings of its own."""

    eta: float = 1.0  # weight of the Q term; raising it: bolder, further from the data
    diffusion_steps: int = 5  # K; raising it: finer actions, slower updates
    schedule: str = "vp"  # how noise grows over the levels: vp, cosine, linear or linear_scaled
    solver: str = "ddpm"  # how actions are sampled: ddpm, ddim, or dpm for K of a hundred and more
    solver_steps: int = 0  # network calls per sample, 0: the solver's own choice; raising it: finer, slower
    max_q_backup: bool = False  # True: the best of several next actions is backed up; for sparse rewards
    backup_candidates: int = 10  # how many those are; raising it: more optimistic targets, slower updates
    candidates: int = 50  # actions to choose from when acting; raising it trusts the critic more
    temperature: float = 1.0  # of that choice, in units of Q; raising it: closer to the plain policy
    gamma: float = 0.99  # discount per step; raising it looks further ahead
    tau: float = 0.005  # speed of the target critic; raising it: newer targets, less stable
    ema_decay: float = 0.995  # of the target policy; raising it: slower, steadier targets
    ema_every: int = 5  # updates between moves of the target policy; raising it slows it down
    ema_start: int = 1000  # updates before it averages; raising it: later averaging
    ema_before: str = "copy"  # until then it copies the policy; "initial" leaves it untrained, as published
    critics: int = 2  # size of the ensemble; raising it: more cautious values, slower updates
    width: int = 256  # of the networks; raising it: finer, slower
    depth: int = 3  # hidden layers; raising it: finer, slower
    activation: str = "mish"  # of the networks
    actor_norm: str = "none"  # layer norm in the policy: none, before or after the activation
    critic_norm: str = "none"  # layer norm in the critic; "before" steadies values of unseen actions
    actor_lr: float = 3e-4  # learning rate of the policy
    critic_lr: float = 3e-4  # learning rate of the critic; the published tables never change it
    actor_clip: float = 5.0  # bound on the gradient's norm, 0: none; lowering it: calmer steps
    critic_clip: float = 5.0  # the same for the critic
    decay: str = "none"  # learning rates over the run: none, or a cosine per update, epoch or as_run
    decay_steps: int = 0  # updates of that cosine; 0: the run's
    normalize_obs: bool = False  # True: observations are centred and scaled by the data's statistics

    def validate(self) -> None:
        """Check what can be checked without data."""
        check(self)
        for name in ("backup_candidates", "candidates", "critics", "width", "depth", "ema_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.ema_before not in ("copy", "initial"):
            raise ValueError(f"ema_before is copy or initial; got '{self.ema_before}'")
        if self.temperature < 0:
            raise ValueError(f"temperature must not be negative; got {self.temperature}")

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from: single transitions."""
        return WindowSpec()


PRESETS: dict[str, dict[str, Any]] = {
    "demo": DEMO,
    "paper": {"ema_before": "initial", "decay": "as_run"},
    "standard": {},
}
# Half the chain keeps to the modes.
BANDIT: dict[str, Any] = {"eta": 1.0, "solver": "ddim", "solver_steps": 10}
BANDITS = {"bandit:rings": {**BANDIT, "eta": 0.5}, "bandit:*": BANDIT}  # a gentler pull to thin modes


def preset(name: str, env: str) -> dict[str, Any]:
    """Return the settings of preset `name`; `paper` adds what was published for the environment."""
    return {**PRESETS[name], **first_match(env, BANDITS), **(of_environment(env) if name == "paper" else {})}


class Noise(NamedTuple):
    """All the randomness of one update.  A policy sample takes `draws` tensors, K for ddpm."""

    next: Tensor  # (draws, B M, D) for the M next actions of each row
    level: Tensor  # (B,) diffusion level of the cloning term
    eps: Tensor  # (B, D) its noise
    policy: Tensor  # (draws, B, D) for the action that maximises Q
    pair: Tensor  # (2,) the critic to maximise, and the one whose mean absolute value is the scale


class DiffusionQL(TargetActorLearner):
    """Diffusion Q-learning on single transitions."""

    config: Config
    roles = BOTH

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        rng = self.init_rng
        hidden = (config.width,) * config.depth
        denoiser = Denoiser(
            action_dim, obs_dim, hidden, rng, activation=config.activation, layer_norm=config.actor_norm
        )
        diffusion = Diffusion(config.diffusion_steps, config.schedule)
        critic = Critic(
            config.critics, obs_dim + action_dim, hidden, rng,
            activation=config.activation, layer_norm=config.critic_norm,
        )  # fmt: skip
        policy = DiffusionPolicy(denoiser, diffusion, config.solver, config.solver_steps)
        self.actor, self.ema_actor = self.with_copy("actor", "ema_actor", policy)
        self.critic, self.target = self.with_copy("critic", "target", critic)
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, self.actor)
        self.critic_optimiser = self.adam(
            "critic_optimiser", config.critic_lr, config.critic_clip, self.critic
        )
        self.next_candidates = config.backup_candidates if config.max_q_backup else 1

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        rows, draws = whole_rows(len(batch.steps)), self.actor.plan.draws
        pair = draw_pair(self.config.critics, rng)
        noise = Noise(
            next=local_rows(
                torch.randn(draws, rows * self.next_candidates, self.action_dim, generator=rng), 1
            ),
            level=local_rows(torch.randint(self.config.diffusion_steps, (rows,), generator=rng)),
            eps=local_rows(torch.randn(rows, self.action_dim, generator=rng)),
            policy=local_rows(torch.randn(draws, rows, self.action_dim, generator=rng), 1),
            pair=pair,
        )
        return Noise(*(part.to(self.device, non_blocking=True) for part in noise))

    def critic_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """Squared TD error of every critic; returns (loss, absolute TD error (B,), metrics)."""
        obs, actions, real = self.now(batch.obs), self.flat_actions(batch), batch.mask[:, 0]
        q = self.critic(obs, actions)  # (E, B)

        # Bootstrap.  The slowly following actor proposes, the target critics value, the least counts.
        with torch.no_grad():
            next_obs = self.now(batch.next_obs)
            next_q = self.next_value(next_obs, noise.next)  # (B,)
            y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, next_q, self.config.gamma)

        loss = masked_mean((q - y).square().sum(0), real, batch.weight)
        return loss, *td_report(loss, q, y, real)

    def next_value(self, obs: Tensor, noise: Tensor) -> Tensor:
        """Return min_j Q'_j (B,); with max_q_backup each critic first takes the best of its candidates."""
        return best_next_value(self.ema_actor.sample, self.target, obs, obs, noise, self.next_candidates)

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Cloning term plus eta times the Q term; gradients flow through every step of the chain."""
        obs, actions, real = self.now(batch.obs), self.flat_actions(batch), batch.mask[:, 0]

        # L_bc: predict the noise in the data's action.
        error = self.actor.error(actions, noise.level, noise.eps, obs).square()  # (B, D)
        bc_loss = masked_mean(error, batch.action_mask, batch.weight[:, None])

        # L_q: one critic is maximised, another's mean absolute value sets the scale; critics get no gradient.
        sampled = self.actor.sample(obs, noise.policy)
        mean_q = masked_mean(self.critic(obs, sampled, noise.pair[:1])[0], real, batch.weight)
        with torch.no_grad():
            scale = masked_mean(self.critic(obs, sampled, noise.pair[1:])[0].abs(), real, batch.weight)
        q_loss = -mean_q / scale.clamp(min=1e-6)

        metrics = {"actor/bc_loss": bc_loss, "actor/q_loss": q_loss, "actor/q_scale": scale}
        return bc_loss + self.config.eta * q_loss, metrics

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """One step of the critic, one of the actor that maximises it, then the targets."""
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
        return self.actor, self.now(history.obs)

    @torch.no_grad()
    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Draw one of the online actor's candidates by softmax over min_j Q'_j, with `explore` or without."""
        obs, count = self.now(history.obs), self.config.candidates
        policy, _ = proposer(self, history)
        actions, q = valued_candidates(policy, self.target, obs, obs, count, self.action_dim, rng)
        return choose(actions, q, self.config.temperature, rng)[:, None]  # (V, 1, act)

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the Q of every critic (E, V)."""
        return self.target(self.now(history.obs), actions.flatten(1))

    def now(self, obs: Tensor) -> Tensor:
        """Return the normalised observation (B, obs) at the anchor of obs (B, 1, obs)."""
        return self.normaliser(obs[:, -1])
