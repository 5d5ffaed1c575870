"""What a sampler and an agent give is of the kind that the loop asked for; anything else is named at once.

Shapes and types are compared, and no number is read, so that a check costs microseconds and waits for no
device.  Episodes and steps are held to the store by `gather`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trajrl.agents.base.protocol import Agent, Batches, Update, by_role
from trajrl.core.source_place import method_place
from trajrl.store.gather import gather
from trajrl.store.window import AnchorError, Anchors, SequenceBatch, WindowSpec

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Sampler
    from trajrl.store.goals import Goals
    from trajrl.store.store import TrajectoryStore

KINDS = {"episode": ("iu", "whole numbers"), "step": ("iu", "whole numbers"), "weight": ("f", "floats")}


def draw(sampler: Sampler, rng: np.random.Generator, n: int) -> Anchors:
    """Draw n anchors: whole numbers for episode and step, floats for the weight, (n,) each."""
    anchors = sampler.sample(rng, n)
    if not isinstance(anchors, Anchors):
        refuse(sampler, "sample", f"gave {type(anchors).__name__}, expected Anchors(episode, step, weight)")
    for name, column in zip(Anchors._fields, anchors, strict=True):
        kind, words = KINDS[name]
        if not isinstance(column, np.ndarray) or column.dtype.kind not in kind:
            found = getattr(column, "dtype", type(column).__name__)
            refuse(sampler, "sample", f"gave {name} of {found}, expected an array of {words}")
        if column.shape != (n,):
            refuse(sampler, "sample", f"gave {name} of shape {column.shape}, expected ({n},)")
    return anchors


def windows(
    store: TrajectoryStore, anchors: Anchors, spec: WindowSpec, device: torch.device, sampler: Sampler,
    goals: Goals | None = None,
) -> SequenceBatch:  # fmt: skip
    """Gather the windows of anchors; those that are not in the store are the sampler's."""
    try:
        return gather(store, anchors, spec, device, goals)
    except AnchorError as error:
        raise ValueError(f"{method_place(type(sampler), 'sample')}: {error}") from error


def learn(agent: Agent, batch: SequenceBatch | Batches, rng: torch.Generator, first: bool = False) -> Update:
    """Do one update: the TD error is a tensor (B,), metrics, looked at in the first, are scalar tensors."""
    update = agent.update(batch, rng)
    if not isinstance(update, Update):
        refuse(agent, "update", f"gave {type(update).__name__}, expected Update(metrics, td_error)")
    td_error, rows = update.td_error, tuple(by_role(batch).values.steps.shape)
    if not isinstance(td_error, Tensor) or tuple(td_error.shape) != rows:
        found = getattr(td_error, "shape", None)
        words = type(td_error).__name__ if found is None else f"shape {tuple(found)}"
        refuse(agent, "update", f"gave td_error of {words}, expected {rows}")
    for name, value in update.metrics.items() if first else ():
        if not isinstance(value, Tensor) or value.ndim:
            refuse(agent, "update", f"gave the metric {name} as {value!r:.60}, expected a scalar tensor")
    return update


def refuse(owner: Any, method: str, what: str) -> None:
    """Say what a method gave that cannot be used, and where it is written."""
    raise ValueError(f"{method_place(type(owner), method)} {what}")
