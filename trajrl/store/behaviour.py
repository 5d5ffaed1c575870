"""What was done in a trajectory, as a vector of fixed size that does not depend on how long it was done.

    mean and std of o_t | mean and std of a_t | rms of o_{t+1} - o_t | rms of a_{t+1} - a_t

over 50 steps spread evenly over the episode, some of them twice where it is shorter.  Changes tell noise and
haste from the values alone; a single step has no change of actions, and zero stands for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trajrl.store.column import Column
    from trajrl.store.store import TrajectoryStore

STEPS = 50  # more told behaviours apart no better, on any of twelve stores


def behaviour_blocks(store: TrajectoryStore) -> dict[str, int]:
    """Return the width of each block of columns, in order."""
    obs, act = store.obs_dim, store.action_dim
    return {"obs": 2 * obs, "actions": 2 * act, "obs_change": obs, "action_change": act}


def behaviour(store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
    """Describe episodes (n,) by (n, 3 obs + 3 act)."""
    length, start = store.table.length[ids][:, None], store.table.start[ids][:, None]
    step = np.linspace(0, length[:, 0] - 1, STEPS, axis=1).astype(np.int64)  # (n, STEPS)
    pair = np.minimum(step, np.maximum(0, length - 2))  # the last action has none behind it
    obs, action = start + ids[:, None] + step, start + pair
    seen, acted = (
        _read(store.obs, obs),
        _read(store.actions, start + step),
    )  # (n, STEPS, obs), (n, STEPS, act)
    moved = _read(store.obs, obs + 1) - seen
    after = np.minimum(action + 1, start + length - 1)
    changed = _read(store.actions, after) - _read(store.actions, action)
    return np.concatenate([
        seen.mean(1), seen.std(1), acted.mean(1), acted.std(1), _rms(moved), _rms(changed)
    ], axis=1)  # fmt: skip


def _read(column: Column, rows: np.ndarray) -> np.ndarray:
    return np.asarray(column.rows(rows), np.float64)


def _rms(x: np.ndarray) -> np.ndarray:
    """Return the root of the mean square over steps (n, STEPS, d)."""
    return np.sqrt(np.square(x).mean(1))
