"""How far n-step targets lie from one-step ones: the bias that the data's own policy brings in.

    gap = mean (y_n - y_1),   y_k = R_k + gamma^k (1 - terminated) V(o_{t+k})

Both take the same V.  Were V the value of the data's policy, the gap would be 0 in the mean; where V is that
of a better one, the rewards of the data pull long targets down.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from trajrl.agents.base.learner import histories
from trajrl.core.rng import torch_stream
from trajrl.nets.targets import td_target
from trajrl.report.runs.rundata import open_agent, open_store
from trajrl.store.gather import gather
from trajrl.store.window import Anchors, WindowSpec
from trajrl.training.diagnostics import subsample

if TYPE_CHECKING:
    from trajrl.agents.trajectory_ql import TrajectoryQL
    from trajrl.store.store import TrajectoryStore


def target_gap(folder: Path) -> dict[str, float]:
    """Return value, the mean of y_1 at 4,096 steps of the data, and y_n - y_1 beside it: mean and size."""
    agent, _ = open_agent(folder)
    store = open_store(folder)
    return gap(agent, store, subsample(store, seed=0))


def gap(agent: TrajectoryQL, store: TrajectoryStore, anchors: Anchors) -> dict[str, float]:
    """Return the same at anchors."""
    near = targets(agent, store, anchors, replace(agent.spec, horizon=1))
    far = targets(agent, store, anchors, agent.spec)
    scale = float(near.abs().mean())
    return {
        "value": float(near.mean()),
        "gap": float((far - near).mean()) / scale,
        "gap_size": float((far - near).abs().mean()) / scale,
    }


@torch.no_grad()
def targets(agent: TrajectoryQL, store: TrajectoryStore, anchors: Anchors, spec: WindowSpec) -> torch.Tensor:
    """Return y (B,) at anchors, over the horizon of `spec`."""
    batch = gather(store, anchors, spec, agent.device)
    noise = agent.draw_noise(batch, torch_stream(0, "gap", 0)).next
    value = agent.next_value(batch, histories(batch)[1], noise)
    return td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, value, agent.config.gamma)
