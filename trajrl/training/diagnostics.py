"""Diagnostics: how well an agent that calls rows good tells the sources of the data apart.

For agents with `judge` and data of two sources or more; the one of highest mean return is the expert's.
The rows are a fixed subsample of the store, drawn from a stream of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from trajrl.core.rng import stream
from trajrl.samplers.base.expert_auroc import expert_episodes, separation
from trajrl.store.gather import gather
from trajrl.store.window import Anchors

if TYPE_CHECKING:
    from trajrl.agents.base.protocol import Agent
    from trajrl.store.store import TrajectoryStore

NUM_ROWS = 4096


def diagnostics(agent: Agent, store: TrajectoryStore, seed: int) -> dict[str, float]:
    """Return accuracy, balanced accuracy, AUROC and precision against the sources; nothing without them."""
    judge = getattr(agent, "judge", None)
    expert = expert_episodes(store, "") if judge else None
    if judge is None or expert is None:
        return {}
    anchors = subsample(store, seed)
    batch = gather(store, anchors, agent.spec, agent.device)
    with torch.no_grad():
        score, good = judge(batch)
    return separation(score.double().cpu().numpy(), good.cpu().numpy(), expert[anchors.episode])


def subsample(store: TrajectoryStore, seed: int) -> Anchors:
    """Draw rows of live episodes, each step equally likely; always the same ones while the store is."""
    length = store.table.length[store.live]
    total = np.cumsum(length)
    row = np.sort(stream(seed, "judgement").integers(total[-1], size=NUM_ROWS))  # the name fixes the rows
    which = np.searchsorted(total, row, side="right")
    return Anchors(store.live[which], row - (total - length)[which], np.ones(NUM_ROWS, np.float32))
