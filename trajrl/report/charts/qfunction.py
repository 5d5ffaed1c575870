"""The Q-function at a few states: over every plane of two action dimensions, and over whole sets of actions.

All other dimensions, and the later actions of a chunk, stay at the data's own action.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from trajrl.agents.base.protocol import history_of
from trajrl.core.rng import stream, torch_stream
from trajrl.report.charts import captions
from trajrl.report.charts.chart import Chart, Heat, Series
from trajrl.store.gather import gather
from trajrl.store.window import Anchors, SequenceBatch

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from trajrl.agents.base.protocol import Agent
    from trajrl.store.store import TrajectoryStore

GRID = 21  # points along each action dimension
MOST_DIMENSIONS = 6  # of the action; of more, those that move Q most
SAMPLES = 32  # actions of the policy, and at random, at each state


@dataclass(frozen=True, eq=False)
class Explorer:
    """Q over planes of actions: S states, P pairs of dimensions, G points along each."""

    key: str
    states: list[str]  # (S,) in words
    pairs: list[tuple[int, int]]  # (P,)
    grid: np.ndarray  # (G,)
    q: np.ndarray  # (S, P, G, G), the first dimension of the pair along the last axis
    data_action: np.ndarray  # (S, act)
    policy_actions: np.ndarray  # (S, M, act)
    data_q: np.ndarray  # (S,)
    policy_q: np.ndarray  # (S, M)
    random_q: np.ndarray  # (S, M)

    def heat(self, state: int, pair: int) -> Heat:
        """Return one plane at one state."""
        i, j = self.pairs[pair]
        mean = self.policy_actions[state].mean(0)
        points = {
            "data's action": (float(self.data_action[state, i]), float(self.data_action[state, j])),
            "mean of the policy's": (float(mean[i]), float(mean[j])),
        }
        return Heat(
            f"{self.key}-heat", f"Q at {self.states[state]}", captions.Q_HEAT, f"action {i}", f"action {j}",
            "Q", self.grid, self.grid, self.q[state, pair], points,
        )  # fmt: skip

    def table(self) -> pd.DataFrame:
        """Return one row per state and plane: where Q peaks, and Q of the data's and the policy's actions."""
        import pandas as pd

        rows = []
        for s, label in enumerate(self.states):
            own = {"Q of the data": self.data_q[s], "mean Q of the policy": self.policy_q[s].mean()}
            for p, (i, j) in enumerate(self.pairs):
                plane = self.q[s, p]
                up, across = np.unravel_index(plane.argmax(), plane.shape)
                peak = f"action {i} = {self.grid[across]:.2f}, action {j} = {self.grid[up]:.2f}"
                rows.append({"state": label, "Q peaks at": peak, "Q there": plane.max(), **own})
        return pd.DataFrame(rows)

    def spread(self) -> Chart:
        """Return how Q spreads at every state: the data's action, the policy's actions, actions at random."""
        names = np.array([str(i) for i in range(len(self.states))])
        series = [Series("data's action", names, self.data_q)]
        for place, (name, q) in enumerate((("policy", self.policy_q), ("random", self.random_q)), 1):
            low, middle, high = np.quantile(q, (0.05, 0.5, 0.95), axis=1)
            series.append(Series(f"{name} actions, median and 90 %", names, middle, low, high, place))
        words = "Q by kind of action", captions.Q_SPREAD, "state", "Q"
        return Chart(f"{self.key}-spread", *words, series, kind="dots")


def explore(
    agent: Agent, store: TrajectoryStore, seed: int = 0, key: str = "q", states: int = 12
) -> Explorer:
    """Evaluate the critic around the data's actions at states of poor to good episodes, early to late."""
    anchors = choose_states(store, states)
    batch = gather(store, anchors, agent.spec, agent.device)
    data_q = values(agent, batch, batch.actions.unsqueeze(1))[:, 0]  # refuses an agent without a critic
    pairs = list(combinations(_moving_dimensions(agent, batch), 2)) or [(0, 0)]
    grid = np.linspace(-1, 1, GRID, dtype=np.float32)
    policy = policy_actions(agent, batch, seed)  # (S, M, N, act)
    planes = [values(agent, batch, _plane(batch, i, j, grid)) for i, j in pairs]
    label = [
        f"episode {e}, step {t} of {store.table.length[e]}, return {store.table.returns[e]:.4g}"
        for e, t in zip(anchors.episode, anchors.step)
    ]
    q = np.stack(planes, 1).reshape(len(label), len(pairs), GRID, GRID)
    return Explorer(
        key, label, pairs, grid, q, batch.actions[:, 0].cpu().numpy(), policy[:, :, 0].cpu().numpy(), data_q,
        values(agent, batch, policy), values(agent, batch, _random_actions(batch, seed)),
    )  # fmt: skip


def choose_states(store: TrajectoryStore, count: int) -> Anchors:
    """Choose episodes evenly by rank of return, and of each an early, a middle and a late step."""
    live = store.live
    ranked = live[np.argsort(store.table.returns[live], kind="stable")]
    rank = np.linspace(0, len(ranked) - 1, max(1, count // 3)).astype(int)
    episode = np.repeat(ranked[np.unique(rank)], 3)  # (S,)
    place = np.tile((0.1, 0.5, 0.9), len(episode) // 3)
    step = ((store.table.length[episode] - 1) * place).astype(np.int64)
    return Anchors(episode, step, np.ones(len(episode), np.float32))


def values(agent: Agent, batch: SequenceBatch, actions: torch.Tensor) -> np.ndarray:
    """Return Q (S, M) of M chunks of actions (S, M, N, act) at each state of the batch."""
    import torch  # late here and below: a report without Q does without torch

    from trajrl.training.q_values import blocks

    states, count = actions.shape[:2]
    row = torch.arange(states, device=actions.device).repeat_interleave(count)  # (S M,)
    flat = actions.flatten(0, 1)  # (S M, N, act)
    found = []
    for part in blocks(len(row)):
        history = history_of(batch).rows(row[part])
        with torch.no_grad():
            found.append(agent.value(history, flat[part]).float().cpu())
    return torch.cat(found).view(states, count).numpy()


def q_of_data(agent: Agent, store: TrajectoryStore, episode: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return Q (n,) of the data's own actions."""
    from trajrl.training.q_values import value_at

    anchors = Anchors(episode.astype(np.int64), step.astype(np.int64), np.ones(len(step), np.float32))
    return value_at(store, agent, anchors)


def policy_actions(agent: Agent, batch: SequenceBatch, seed: int, count: int = SAMPLES) -> torch.Tensor:
    """Return chunks (S, M, N, act) that the policy gives at each state, as it acts in an evaluation."""
    import torch

    row = torch.arange(len(batch.obs), device=batch.obs.device).repeat_interleave(count)
    history = history_of(batch).rows(row)
    rng = [torch_stream(seed, "report/policy", i) for i in range(len(row))]
    with torch.no_grad():
        actions = agent.act(history, rng, explore=False)
    return actions.view(len(batch.obs), count, *actions.shape[1:])


def _random_actions(batch: SequenceBatch, seed: int) -> torch.Tensor:
    """Draw chunks (S, M, N, act) evenly from [-1, 1]."""
    import torch

    shape = (len(batch.obs), SAMPLES, *batch.actions.shape[1:])
    drawn = stream(seed, "report/random").uniform(-1, 1, shape).astype(np.float32)
    return torch.from_numpy(drawn).to(batch.actions.device)


def _plane(batch: SequenceBatch, i: int, j: int, grid: np.ndarray) -> torch.Tensor:
    """Vary dimensions i and j of the first action over the grid: (S, G G, N, act), i fastest."""
    import torch

    line = torch.from_numpy(grid).to(batch.actions.device)
    actions = batch.actions[:, None].repeat(1, len(grid) ** 2, 1, 1)
    actions[:, :, 0, j] = line.repeat_interleave(len(grid))
    actions[:, :, 0, i] = line.repeat(len(grid))
    return actions


def _moving_dimensions(agent: Agent, batch: SequenceBatch) -> list[int]:
    """Return the dimensions of the action that move Q most, in order of their number."""
    width = batch.actions.shape[-1]
    if width <= MOST_DIMENSIONS:
        return list(range(width))
    grid = np.linspace(-1, 1, 5, dtype=np.float32)
    moved = [float(values(agent, batch, _plane(batch, i, i, grid)).std(1).mean()) for i in range(width)]
    return sorted(np.argsort(moved)[-MOST_DIMENSIONS:].tolist())
