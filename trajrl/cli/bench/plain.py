"""benchmarks/plain_dql.py beside diffusion_ql: the same weights, batches and noise for both."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from trajrl.agents import make_agent
from trajrl.core.paths import PLACE

PLAIN = PLACE / "benchmarks" / "plain_dql.py"
NAMES = {"critic/loss": "critic_loss", "actor/bc_loss": "bc_loss", "actor/q_loss": "ql_loss"}  # ours: theirs


def load_plain() -> ModuleType:
    """Import the plain algorithm, which lies beside the package in the repository."""
    if not PLAIN.exists():
        raise FileNotFoundError(
            f"{PLAIN} is missing: bench update compares with it; run it in a checkout of the repository"
        )
    spec = importlib.util.spec_from_file_location("plain_dql", PLAIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plain_dql"] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def parity(obs_dim: int, action_dim: int, batch_size: int, width: int, device: str) -> float:
    """Return the largest difference of losses and weights after three updates of both."""
    from trajrl.core.rng import torch_stream

    plain = load_plain()
    settings = plain.Settings(ema_start=1, ema_every=2)
    oracle = plain.PlainDQL(obs_dim, action_dim, settings, width=width)
    agent = twin(oracle, device, ema_start=1, ema_every=2, ema_before="initial")
    replay = plain.Replay(obs_dim, action_dim, size=4 * batch_size)
    errors = []
    for step in range(3):
        batch, draws = replay.sample(batch_size), oracle.draw(batch_size)
        set_noise(agent, draws)
        expected = oracle.update(batch, draws)
        found = agent.update(as_windows(batch, device), torch_stream(0, "agent", step)).metrics
        errors += [abs(found[ours].item() - expected[theirs]) for ours, theirs in NAMES.items()]
    weights = twin(oracle, device).state_dict()
    for part in ("actor", "critic"):
        for name, value in agent.state_dict()[part].items():
            errors.append(float((value - weights[part][name]).abs().max()))
    return max(errors)


def twin(oracle: Any, device: str, **config: Any) -> Any:
    """Return a diffusion_ql with the weights of a plain agent."""
    import torch

    from trajrl.agents.base.public_weights import read

    with TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("actor.pth", "critic.pth")]
        torch.save(oracle.actor.state_dict(), files[0])
        torch.save(oracle.critic.state_dict(), files[1])
        weights = read(*files)
    settings = {**weights.config, **config}
    agent: Any = make_agent("diffusion_ql", weights.obs_dim, weights.action_dim, device=device, **settings)
    agent.load_state_dict({**agent.state_dict(), **weights.parts})
    return agent


def set_noise(agent: Any, draws: Any) -> None:
    """Let the agent's next update draw what the plain one drew."""
    import torch

    from trajrl.agents.diffusion_ql import Noise

    pair = torch.tensor([0, 1] if draws.coin else [1, 0])
    noise = Noise(draws.next, draws.level, draws.eps, draws.policy, pair)
    agent.substitute("draw_noise", lambda batch, rng: Noise(*(part.to(agent.device) for part in noise)))


def as_windows(batch: tuple[Any, ...], device: str) -> Any:
    """Return a batch of the plain form as windows of one step."""
    import torch

    from trajrl.store.window import SequenceBatch

    obs, actions, next_obs, rewards, not_done = batch
    real, zero = torch.ones(len(obs), 1, dtype=torch.bool), torch.zeros(len(obs), dtype=torch.int64)
    windows = SequenceBatch(
        obs[:, None], torch.zeros_like(actions)[:, None], real, actions[:, None], real, rewards, real,
        zero + 1, not_done[:, 0] == 0, next_obs[:, None], actions[:, None], real, torch.ones(len(obs)),
        zero, zero,
    )  # fmt: skip
    moved = {name: part.to(device) for name, part in windows._asdict().items() if part is not None}
    return windows._replace(**moved)
