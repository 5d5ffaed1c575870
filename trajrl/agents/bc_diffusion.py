"""Diffusion behaviour cloning: the conditional diffusion policy alone.

    L_bc = mean (net(x_i, i, c) - eps)^2,   x_i = sqrt(abar_i) a + sqrt(1 - abar_i) eps,   i ~ U{0 .. K-1}
    predicts=action: mean (net(x_i, i, c) - a)^2

c is the observation, or with history > 1 what a GRU makes of the last H of them; a is a chunk of N actions.

Paper: Wang et al. 2023; Chi et al. 2023 (chunks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.candidates import draw_candidates, padded_history
from trajrl.agents.base.images import ImageConfig
from trajrl.agents.base.learner import Learner, Metrics, histories
from trajrl.agents.base.networks import build_actor, check
from trajrl.agents.base.proposer import proposer
from trajrl.agents.base.protocol import Batches, History, by_role
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.denoiser import DiffusionPolicy
from trajrl.nets.optim import Optimiser
from trajrl.nets.targets import copy_of, follow, masked_mean
from trajrl.store.window import SequenceBatch, WindowSpec


@dataclass(frozen=True)
class Config(ImageConfig):
    """Defaults clone single actions from single observations."""

    history: int = 1  # observations the policy sees; above 1 a GRU reads them
    history_actions: bool = True  # the GRU also sees the action before each observation
    chunk: int = 1  # actions given at once, executed open loop; raising it: smoother, slower to react
    diffusion_steps: int = 5  # K; raising it: finer actions, slower updates and acting
    schedule: str = "vp"  # how noise grows over the levels: vp, cosine, linear or linear_scaled
    solver: str = "ddpm"  # how actions are sampled: ddpm, ddim, or dpm for K of a hundred and more
    solver_steps: int = 0  # network calls per sample, 0: the solver's own choice; raising it: finer, slower
    predicts: str = "noise"  # what the network gives: noise, or action: sharper where a state has one
    act_ema: bool = True  # act with the average of past weights, which is steadier than the last ones
    ema_decay: float = 0.995  # of that average; raising it: smoother, later
    width: int = 256  # of the network; raising it: finer, slower
    depth: int = 3  # hidden layers; raising it: finer, slower
    gru_width: int = 128  # of the history's summary; raising it: remembers more, slower
    gru_layers: int = 1  # raising it: longer patterns, slower
    activation: str = "mish"  # of the network
    actor_norm: str = "none"  # in the network: none, before or after the activation
    lr: float = 3e-4  # learning rate; raising it: faster and rougher
    clip: float = 0.0  # bound on the gradient's norm, 0: none; lowering it: calmer steps
    decay: str = "none"  # learning rate over the run: none, or a cosine per update, epoch or as_run
    decay_steps: int = 0  # updates of that cosine; 0: the run's
    normalize_obs: bool = False  # True: observations are centred and scaled by the data's statistics

    def validate(self) -> None:
        """Check what can be checked without data."""
        check(self)
        self.check_images()
        for name in ("history", "chunk", "width", "depth", "gru_width", "gru_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from."""
        return WindowSpec(self.history, self.chunk)


PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"lr": 1e-3, "decay": "update"},
    "paper": {"act_ema": False},
    "standard": {"lr": 1e-3, "decay": "update"},
}


class Noise(NamedTuple):
    """All the randomness of one update."""

    level: Tensor  # (B,) diffusion level
    eps: Tensor  # (B, D) noise of the forward process


class BCDiffusion(Learner):
    """A diffusion policy trained on the data's actions."""

    config: Config
    takes_images = True
    learns_online = False  # it would clone its own episodes
    roles = ("policy",)

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        self.width = config.chunk * action_dim  # D, of a flattened chunk
        actor = build_actor(config, obs_dim, action_dim, self.init_rng, config.chunk, images=self.images)
        self.actor = self.part("actor", actor)
        self.ema_actor = self.part("ema_actor", copy_of(self.actor))
        self.optimiser = self.part(
            "optimiser",
            Optimiser(
                self.actor.parameters(), config.lr, clip=config.clip,
                decay=config.decay, decay_steps=config.decay_steps,
            ),
        )  # fmt: skip

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        rows = whole_rows(len(batch.steps))
        level = local_rows(torch.randint(self.config.diffusion_steps, (rows,), generator=rng))
        eps = local_rows(torch.randn(rows, self.width, generator=rng))
        return Noise(*(part.to(self.device, non_blocking=True) for part in (level, eps)))

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Metrics]:
        """Predict the noise in the data's actions, or the actions, over the real ones."""
        policy = self.actor.head
        context = self.context(self.actor.encoder, histories(batch)[0])  # (B, ctx)
        actions = torch.where(batch.action_mask[..., None], batch.actions, 0.0).flatten(1)  # (B, D)
        error = policy.error(actions, noise.level, noise.eps, context).square()  # (B, D)
        error = error.unflatten(1, (-1, self.action_dim))  # (B, N, act)
        loss = masked_mean(error, batch.action_mask[..., None], batch.weight[:, None, None])
        return loss, {"actor/bc_loss": loss}

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """Take one step, then move the average."""
        batch = by_role(batch).policy
        loss, metrics = self.actor_loss(batch, noise)
        norm = self.optimiser.step(loss)
        follow(self.ema_actor.parameters(), self.actor.parameters(), 1 - self.config.ema_decay)
        return {**metrics, "actor/grad_norm": norm}, torch.zeros(len(batch.steps), device=self.device)

    def acting_chain(self, history: History) -> tuple[DiffusionPolicy, Tensor]:
        """Return the policy that acts, and its context (V, ctx)."""
        actor = self.ema_actor if self.config.act_ema else self.actor
        return actor.head, self.context(actor.encoder, history)

    @torch.no_grad()
    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Sample one chunk per row; a diffusion policy is random with `explore` or without."""
        policy, context = proposer(self, padded_history(history))  # filled up, as the samples are
        actions = draw_candidates(policy, context, 1, self.width, rng)[: len(history.obs)]
        return actions.unflatten(1, (-1, self.action_dim))

    def value(self, history: History, actions: Tensor) -> Tensor:
        """Refuse: there is no critic."""
        raise ValueError("bc_diffusion has no critic; use a sampler that asks for no values")

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Refuse: there is no critic."""
        return self.value(history, actions)
