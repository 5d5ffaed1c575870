"""How training sees actions that do not lie in [-1, 1]: the named choices behind `--actions`.

    no      a                clip    min(1, max(-1, a))                scale   2 (a - low) / (high - low) - 1

`low` and `high` are the box the actions were recorded in.  The store keeps actions as found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from trajrl.store.store import TrajectoryStore

    Shape = Callable[[torch.Tensor], torch.Tensor]


def as_found(store: TrajectoryStore) -> Shape:
    """a"""
    return lambda actions: actions


def clip(store: TrajectoryStore) -> Shape:
    """min(1, max(-1, a))"""
    return lambda actions: actions.clamp(-1, 1)


def scale(store: TrajectoryStore) -> Shape:
    """2 (a - low) / (high - low) - 1"""
    import torch

    low, high = action_box(store)
    slope = torch.from_numpy(2 / (high - low))  # (act,)
    shift = torch.from_numpy(-2 * low / (high - low) - 1)
    return lambda actions: actions * slope.to(actions.device) + shift.to(actions.device)


ACTION_SHAPES: dict[str, Callable[[TrajectoryStore], Shape]] = {"clip": clip, "no": as_found, "scale": scale}


def action_box(store: TrajectoryStore) -> tuple[np.ndarray, np.ndarray]:
    """Return the box (low, high), each (act,), that the actions were recorded in."""
    if "action_low" not in store.attributes or "action_high" not in store.attributes:
        raise ValueError("this store does not say which box its actions were recorded in; import it with --action-box")
    low, high = (
        np.broadcast_to(np.asarray(store.attributes[name], np.float32), (store.action_dim,)).copy()
        for name in ("action_low", "action_high")
    )
    if not (low < high).all():
        raise ValueError(f"the action box of this store is empty: low {low.tolist()}, high {high.tolist()}")
    return low, high


def count_outside(actions: np.ndarray, low: float | np.ndarray = -1.0, high: float | np.ndarray = 1.0) -> int:
    """Count the rows (S, act) with an entry outside the box; rounding of one part in 1e6 is inside."""
    slack = 1e-6 * np.maximum(1, np.abs(np.stack(np.broadcast_arrays(low, high))).max(0))
    return int(((actions < low - slack) | (actions > high + slack)).any(1).sum())
