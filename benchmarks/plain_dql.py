"""Plain Diffusion-QL: the published algorithm in the published structure, without a single speed-up.

One network at a time, autograd through everything, data copied per step, four numbers read back per
step.  It is the yardstick of speed (`python benchmarks/plain_dql.py` prints updates per second) and the
oracle of parity: its losses, values and updated weights are what `diffusion_ql` must reproduce.  It imports
nothing of the package.

Wang, Hunt, Zhou 2023; structure of the authors' code: separate nets Q1 and Q2, a graph built and thrown
away for the target's actions, a schedule gathered by index, targets moved one parameter at a time.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


class SinusoidalEmbedding(nn.Module):
    """cat(sin, cos) of a level, `size` numbers."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, level: Tensor) -> Tensor:
        """Return (B, size) of levels (B,)."""
        half = self.size // 2
        frequencies = torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
        angles = level[:, None] * frequencies[None, :]
        return torch.cat((angles.sin(), angles.cos()), dim=-1)


class NoiseNet(nn.Module):
    """eps(x, level, obs): three hidden layers over cat(x, time, obs); names as in the public weights."""

    def __init__(self, obs_dim: int, action_dim: int, width: int = 256, time_dim: int = 16) -> None:
        super().__init__()
        self.time_mlp = nn.Sequential(
            SinusoidalEmbedding(time_dim), nn.Linear(time_dim, 2 * time_dim), nn.Mish(),
            nn.Linear(2 * time_dim, time_dim),
        )  # fmt: skip
        self.mid_layer = nn.Sequential(
            nn.Linear(action_dim + time_dim + obs_dim, width), nn.Mish(), nn.Linear(width, width), nn.Mish(),
            nn.Linear(width, width), nn.Mish(),
        )  # fmt: skip
        self.final_layer = nn.Linear(width, action_dim)

    def forward(self, x: Tensor, level: Tensor, obs: Tensor) -> Tensor:
        """Return the noise (B, act)."""
        return self.final_layer(self.mid_layer(torch.cat([x, self.time_mlp(level), obs], dim=1)))


class DiffusionActor(nn.Module):
    """The policy: schedule tables as buffers, gathered by level for every row of every step."""

    def __init__(self, obs_dim: int, action_dim: int, steps: int = 5, width: int = 256) -> None:
        super().__init__()
        self.model, self.steps, self.action_dim = NoiseNet(obs_dim, action_dim, width), steps, action_dim
        n = np.arange(1, steps + 1)
        betas = torch.tensor(
            1 - np.exp(-0.1 / steps - 0.5 * 9.9 * (2 * n - 1) / steps**2), dtype=torch.float32
        )
        alphas = 1 - betas
        abar = torch.cumprod(alphas, dim=0)
        before = torch.cat([torch.ones(1), abar[:-1]])
        variance = betas * (1 - before) / (1 - abar)
        tables = {
            "betas": betas, "alphas_cumprod": abar, "alphas_cumprod_prev": before,
            "sqrt_alphas_cumprod": abar.sqrt(), "sqrt_one_minus_alphas_cumprod": (1 - abar).sqrt(),
            "log_one_minus_alphas_cumprod": (1 - abar).log(), "sqrt_recip_alphas_cumprod": (1 / abar).sqrt(),
            "sqrt_recipm1_alphas_cumprod": (1 / abar - 1).sqrt(), "posterior_variance": variance,
            "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
            "posterior_mean_coef1": betas * before.sqrt() / (1 - abar),
            "posterior_mean_coef2": (1 - before) * alphas.sqrt() / (1 - abar),
        }  # fmt: skip
        for name, table in tables.items():
            self.register_buffer(name, table)

    def at(self, table: str, level: Tensor) -> Tensor:
        """Return the table's entries (B, 1) at levels (B,)."""
        return getattr(self, table).gather(-1, level).reshape(len(level), 1)

    def sample(self, obs: Tensor, noise: Tensor) -> Tensor:
        """Run the reverse chain (B, act) from noise (K, B, act); the last step takes none."""
        x = noise[0]
        for step, i in enumerate(reversed(range(self.steps))):
            level = torch.full((len(obs),), i, dtype=torch.long)
            eps = self.model(x, level, obs)
            x0 = (
                self.at("sqrt_recip_alphas_cumprod", level) * x
                - self.at("sqrt_recipm1_alphas_cumprod", level) * eps
            )
            x0 = x0.clamp(-1.0, 1.0)
            mean = self.at("posterior_mean_coef1", level) * x0 + self.at("posterior_mean_coef2", level) * x
            draw = noise[step + 1] if i else torch.zeros_like(x)
            nonzero = (1 - (level == 0).float()).reshape(len(obs), 1)
            x = mean + nonzero * (0.5 * self.at("posterior_log_variance_clipped", level)).exp() * draw
        return x.clamp(-1.0, 1.0)

    def loss(self, actions: Tensor, obs: Tensor, level: Tensor, eps: Tensor) -> Tensor:
        """Mean squared error of the predicted noise."""
        x = self.at("sqrt_alphas_cumprod", level) * actions
        x = x + self.at("sqrt_one_minus_alphas_cumprod", level) * eps
        return nn.functional.mse_loss(self.model(x, level, obs), eps)


class TwinCritic(nn.Module):
    """Two separate nets over cat(obs, action)."""

    def __init__(self, obs_dim: int, action_dim: int, width: int = 256) -> None:
        super().__init__()

        def net() -> nn.Sequential:
            return nn.Sequential(
                nn.Linear(obs_dim + action_dim, width), nn.Mish(), nn.Linear(width, width), nn.Mish(),
                nn.Linear(width, width), nn.Mish(), nn.Linear(width, 1),
            )  # fmt: skip

        self.q1_model, self.q2_model = net(), net()

    def forward(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return both values (B, 1)."""
        x = torch.cat([obs, actions], dim=-1)
        return self.q1_model(x), self.q2_model(x)


@dataclass(frozen=True)
class Settings:
    """The published defaults."""

    gamma: float = 0.99
    tau: float = 0.005
    eta: float = 1.0
    lr: float = 3e-4
    grad_norm: float = 5.0
    ema_decay: float = 0.995
    ema_every: int = 5
    ema_start: int = 1000
    max_q_backup: bool = False


@dataclass(frozen=True)
class Draws:
    """The randomness of one update; `coin` True maximises Q1 on the scale of Q2."""

    next: Tensor  # (K, B, act), under max_q_backup (K, 10 B, act)
    level: Tensor  # (B,)
    eps: Tensor  # (B, act)
    policy: Tensor  # (K, B, act)
    coin: bool


class PlainDQL:
    """The agent, trained one batch at a time."""

    def __init__(
        self, obs_dim: int, action_dim: int, settings: Settings, steps: int = 5, width: int = 256
    ) -> None:
        self.settings, self.step = settings, 0
        self.actor = DiffusionActor(obs_dim, action_dim, steps, width)
        self.ema_actor = copy.deepcopy(self.actor)
        self.critic = TwinCritic(obs_dim, action_dim, width)
        self.target = copy.deepcopy(self.critic)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=settings.lr)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=3e-4)

    def draw(self, batch: int) -> Draws:
        """Draw the randomness of one update."""
        steps, act = self.actor.steps, self.actor.action_dim
        rows = batch * (10 if self.settings.max_q_backup else 1)
        return Draws(
            torch.randn(steps, rows, act), torch.randint(0, steps, (batch,)), torch.randn(batch, act),
            torch.randn(steps, batch, act), bool(np.random.default_rng().uniform() > 0.5),
        )  # fmt: skip

    def target_q(self, next_obs: Tensor, draws: Draws) -> Tensor:
        """Return the value of the next state (B, 1); its graph is built and thrown away, as published."""
        if not self.settings.max_q_backup:
            return torch.min(*self.target(next_obs, self.ema_actor.sample(next_obs, draws.next)))
        many = torch.repeat_interleave(next_obs, 10, dim=0)
        q1, q2 = self.target(many, self.ema_actor.sample(many, draws.next))
        return torch.min(
            q1.view(-1, 10).max(dim=1, keepdim=True)[0], q2.view(-1, 10).max(dim=1, keepdim=True)[0]
        )

    def update(self, batch: tuple[Tensor, ...], draws: Draws) -> dict[str, float]:
        """Take one step of the critic and one of the actor, then move the targets."""
        obs, actions, next_obs, rewards, not_done = (part.clone() for part in batch)  # the copy to the device
        s = self.settings

        q1, q2 = self.critic(obs, actions)
        target = (rewards + not_done * s.gamma * self.target_q(next_obs, draws)).detach()
        critic_loss = nn.functional.mse_loss(q1, target) + nn.functional.mse_loss(q2, target)
        self.critic_optimizer.zero_grad()
        critic_loss.backward()
        if s.grad_norm > 0:
            nn.utils.clip_grad_norm_(self.critic.parameters(), max_norm=s.grad_norm, norm_type=2)
        self.critic_optimizer.step()

        bc_loss = self.actor.loss(actions, obs, draws.level, draws.eps)
        q1_new, q2_new = self.critic(obs, self.actor.sample(obs, draws.policy))
        if draws.coin:
            q_loss = -q1_new.mean() / q2_new.abs().mean().detach()
        else:
            q_loss = -q2_new.mean() / q1_new.abs().mean().detach()
        actor_loss = bc_loss + s.eta * q_loss
        self.actor_optimizer.zero_grad()
        actor_loss.backward()
        if s.grad_norm > 0:
            nn.utils.clip_grad_norm_(self.actor.parameters(), max_norm=s.grad_norm, norm_type=2)
        self.actor_optimizer.step()

        self.move_targets()
        return {
            "actor_loss": actor_loss.item(), "bc_loss": bc_loss.item(), "ql_loss": q_loss.item(),
            "critic_loss": critic_loss.item(),
        }  # fmt: skip

    @torch.no_grad()
    def act(self, obs: np.ndarray, candidates: int = 50) -> np.ndarray:
        """Choose one of the candidate actions for one observation, by softmax over the smaller target Q."""
        many = torch.repeat_interleave(torch.FloatTensor(obs.reshape(1, -1)), candidates, dim=0)
        noise = torch.stack([torch.randn(candidates, self.actor.action_dim) for _ in range(self.actor.steps)])
        actions = self.actor.sample(many, noise)
        q = torch.min(*self.target(many, actions)).flatten()
        chosen = torch.multinomial(nn.functional.softmax(q, dim=0), 1)
        return actions[chosen].cpu().numpy().flatten()

    def move_targets(self) -> None:
        """Average the actor every few steps from `ema_start` on, the critic always, tensor by tensor."""
        s = self.settings
        if self.step % s.ema_every == 0 and self.step >= s.ema_start:
            for new, old in zip(self.actor.parameters(), self.ema_actor.parameters()):
                old.data = old.data * s.ema_decay + (1 - s.ema_decay) * new.data
        for new, old in zip(self.critic.parameters(), self.target.parameters()):
            old.data.copy_(s.tau * new.data + (1 - s.tau) * old.data)
        self.step += 1


class Replay:
    """Transitions in memory; a batch is five gathers."""

    def __init__(self, obs_dim: int, action_dim: int, size: int = 100_000, seed: int = 0) -> None:
        rng = np.random.Generator(np.random.Philox(seed))
        normal = rng.standard_normal((size, 2 * obs_dim), dtype=np.float32)
        self.obs, self.next_obs = torch.from_numpy(normal[:, :obs_dim]), torch.from_numpy(normal[:, obs_dim:])
        self.actions = torch.from_numpy(rng.uniform(-1, 1, (size, action_dim)).astype(np.float32))
        self.rewards = torch.from_numpy(rng.standard_normal((size, 1), dtype=np.float32))
        self.not_done = torch.ones(size, 1)
        self.rng = rng

    def sample(self, batch: int) -> tuple[Tensor, ...]:
        """Return obs, actions, next_obs, rewards, not_done."""
        row = torch.from_numpy(self.rng.integers(0, len(self.obs), batch))
        return tuple(
            part[row] for part in (self.obs, self.actions, self.next_obs, self.rewards, self.not_done)
        )


def updates_per_second(
    updates: int, batch: int, obs_dim: int = 17, action_dim: int = 6, steps: int = 5, warm_up: int = 3
) -> float:
    """Time `updates` updates, the drawing of batches included, after a few that do not count."""
    agent, replay = PlainDQL(obs_dim, action_dim, Settings(), steps), Replay(obs_dim, action_dim)
    for _ in range(warm_up):
        agent.update(replay.sample(batch), agent.draw(batch))
    started = time.perf_counter()
    for _ in range(updates):
        agent.update(replay.sample(batch), agent.draw(batch))
    return updates / (time.perf_counter() - started)


def main() -> None:
    """Print updates per second, the median of several runs."""
    parser = argparse.ArgumentParser(description="Updates per second of plain Diffusion-QL.")
    parser.add_argument("--updates", type=int, default=30, help="updates per run")
    parser.add_argument("--runs", type=int, default=5, help="runs, of which the median counts")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves torch's own choice")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    rates = sorted(updates_per_second(asked.updates, asked.batch_size) for _ in range(asked.runs))
    median, threads = rates[len(rates) // 2], torch.get_num_threads()
    print(f"{median:.1f} updates/s on {threads} thread(s), median of {asked.runs} runs")


if __name__ == "__main__":
    main()
