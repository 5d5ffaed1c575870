"""What a policy does in a bandit: samples of it in the set's units, its critic on a grid, its cost."""

from __future__ import annotations

import time

import numpy as np
import torch

from trajrl.agents.base.protocol import Agent, History
from trajrl.core.rng import torch_stream
from trajrl.envs.bandit import find_bandit
from trajrl.report.bandit.figure import grid

BLOCK = 2_500  # samples per call of the policy
TIMED = 256  # samples per timed call


def start(agent: Agent, rows: int, action_dim: int = 2) -> History:
    """Return the history at the start of `rows` episodes: one observation of zeros, padding before it."""
    history = agent.spec.history
    mask = torch.zeros(rows, history, dtype=torch.bool, device=agent.device)
    mask[:, -1] = True
    empty = torch.zeros(rows, history, 2, device=agent.device)
    return History(empty, torch.zeros(rows, history, action_dim, device=agent.device), mask)


def sample(agent: Agent, name: str, n: int, seed: int) -> np.ndarray:
    """Return n samples (n, 2) of the policy, each from its own stream."""
    blocks = []
    for first in range(0, n, BLOCK):
        rows = min(BLOCK, n - first)
        rng = [torch_stream(seed, "toy", first + row) for row in range(rows)]
        blocks.append(agent.act(start(agent, rows), rng, explore=False)[:, 0].cpu().numpy())
    return np.concatenate(blocks).astype(np.float64) * find_bandit(name).box


def sample_ms(agent: Agent) -> float:
    """Return the milliseconds that a call for 256 samples takes: the least of five."""
    history, rng = start(agent, TIMED), [torch_stream(0, "toy/time", row) for row in range(TIMED)]
    spent = []
    for _ in range(5):
        began = time.perf_counter()
        agent.act(history, rng, explore=False)
        spent.append(time.perf_counter() - began)
    return 1000 * min(spent)


def critic_values(agent: Agent, name: str) -> np.ndarray | None:
    """Return the critic's Q on `grid`; None for an agent without a critic."""
    points = torch.tensor(grid(name) / find_bandit(name).box, dtype=torch.float32, device=agent.device)
    chunk = torch.zeros(len(points), agent.spec.chunk, 2, device=agent.device)
    chunk[:, 0] = points
    try:
        return agent.value(start(agent, len(points)), chunk).float().cpu().numpy()
    except ValueError:
        return None
