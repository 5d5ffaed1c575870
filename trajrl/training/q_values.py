"""What samplers ask an agent: the Q of the data's actions at anchors, in blocks, shared by the team."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from trajrl.agents.base.protocol import History, history_of
from trajrl.core.distributed import Team, all_gather_rows
from trajrl.store.gather import gather
from trajrl.store.window import Anchors

if TYPE_CHECKING:
    from trajrl.agents.base.protocol import Agent
    from trajrl.store.store import TrajectoryStore

BLOCK = 4096  # rows of one query
Query = Callable[[History, torch.Tensor], torch.Tensor]


def q_values(store: TrajectoryStore, agent: Agent, team: Team, anchors: Anchors) -> np.ndarray:
    """Return the Q at anchors by every critic of the agent (n, E); every process gets the same numbers."""
    if len(anchors.episode) < team.size:
        return np.array(team.broadcast(values_at(store, agent, anchors).tolist()), np.float32)
    with team.learning(len(anchors.episode)) as own:
        return all_gather_rows(torch.from_numpy(values_at(store, agent, part_of(anchors, own)))).numpy()


def values_at(store: TrajectoryStore, agent: Agent, anchors: Anchors) -> np.ndarray:
    """Return the Q at anchors by every critic of the agent (n, E)."""
    return _in_blocks(store, agent, anchors, agent.values)


def value_at(store: TrajectoryStore, agent: Agent, anchors: Anchors) -> np.ndarray:
    """Return the Q at anchors (n,) as the agent pools its critics."""
    return _in_blocks(store, agent, anchors, agent.value)


def blocks(count: int) -> Iterator[slice]:
    """Yield the rows of one query after the other."""
    return (slice(first, first + BLOCK) for first in range(0, count, BLOCK))


def _in_blocks(store: TrajectoryStore, agent: Agent, anchors: Anchors, query: Query) -> np.ndarray:
    values = []
    for rows in blocks(len(anchors.episode)):
        batch = gather(store, part_of(anchors, rows), agent.spec, agent.device)
        history = history_of(batch)
        with torch.no_grad():
            values.append(query(history, batch.actions).float().cpu().numpy().T)
    return np.concatenate(values)


def part_of(anchors: Anchors, rows: slice) -> Anchors:
    """Return some rows of anchors."""
    return Anchors(*(column[rows] for column in anchors))
