"""Plain Diffusion-QL beside ours: the same weights, batches and noise for both."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from trajrl.agents import make_agent
from trajrl.agents.base.public_weights import read
from trajrl.store.window import SequenceBatch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import plain_dql

OBS, ACT = 5, 2


LAYOUTS = (
    "plain",
    "front",
    "middle",
)  # where torch.compile left its prefix


def save(agent: plain_dql.PlainDQL, folder: Path, layout: str = "plain") -> tuple[Path, Path]:
    """Write actor.pth and critic.pth as the public code does, in one of the layouts that it published."""
    paths = folder / "actor.pth", folder / "critic.pth"
    for path, net in zip(paths, (agent.actor, agent.critic)):
        torch.save({key(name, layout): value for name, value in net.state_dict().items()}, path)
    return paths


def key(name: str, layout: str) -> str:
    """Return the key of a weight: a schedule's table is of no part that could be compiled alone."""
    part, _, rest = name.partition(".")
    if layout == "front":
        return f"_orig_mod.{name}"
    return f"{part}._orig_mod.{rest}" if layout == "middle" and rest else name


def parts_of(agent: plain_dql.PlainDQL, folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Return all four networks of a plain agent under our names, its own averages and targets included."""
    found = read(*save(agent, folder)).parts
    averages = plain_dql.PlainDQL(OBS, ACT, agent.settings, agent.actor.steps, width=16)
    averages.actor, averages.critic = agent.ema_actor, agent.target
    slow = read(*save(averages, folder)).parts
    return {**found, "ema_actor": slow["actor"], "target": slow["critic"]}


def ours(agent: plain_dql.PlainDQL, folder: Path, **config: Any) -> Any:
    """Build a diffusion_ql agent with the plain agent's weights."""
    weights = read(*save(agent, folder))
    twin = make_agent("diffusion_ql", OBS, ACT, **{**weights.config, **config})
    twin.load_state_dict({**twin.state_dict(), **parts_of(agent, folder)})
    return twin


def transitions(seed: int, rows: int = 12) -> tuple[tuple[torch.Tensor, ...], SequenceBatch]:
    """Return the same batch in the plain form and as windows of one step."""
    rng = torch.Generator().manual_seed(seed)
    obs, next_obs = (torch.randn(rows, OBS, generator=rng) for _ in range(2))
    actions, rewards = torch.rand(rows, ACT, generator=rng) * 2 - 1, torch.randn(rows, 1, generator=rng)
    terminated = torch.rand(rows, generator=rng) < 0.3
    real, none = torch.ones(rows, 1, dtype=torch.bool), torch.zeros(rows, dtype=torch.int64)
    windows = SequenceBatch(
        obs[:, None], torch.zeros(rows, 1, ACT), real, actions[:, None], real, rewards, real, none + 1,
        terminated, next_obs[:, None], actions[:, None], real, torch.ones(rows), none, none,
    )  # fmt: skip
    return (obs, actions, next_obs, rewards, 1 - terminated[:, None].float()), windows
