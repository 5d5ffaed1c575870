"""What one trajectory looks like as a vector of fixed size, for clustering.

    behaviour   what was done, whatever its length: `trajrl.store.behaviour`
    shape       length T | mean and std of ||p_{j+1} - p_j|| | key frames p_1 .. p_K | action mean and std

p_j = o_{int(linspace(0, T, K))} are K observations spread over o_0 .. o_T; a shape's actions are optional,
and the return of both, which comes last.
`Scaler` standardises each column, then (block_scale) divides every block of w > 1 columns by sqrt(w), so that
hundreds of key-frame numbers weigh as much as the length alone, then may project to d principal components.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trajrl.store.behaviour import STEPS, behaviour, behaviour_blocks

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

DESCRIPTIONS = ("behaviour", "shape")
BLOCK_STEPS = 1 << 20  # rows read at once, so that a mapped store is never held whole


@dataclass(frozen=True)
class FeatureSpec:
    """Which features describe a trajectory."""

    keyframes: int = 20  # K of a shape
    actions: bool = False  # mean and std of every action, of a shape
    returns: bool = False
    describe: str = "behaviour"  # or shape

    def blocks(self, store: TrajectoryStore) -> dict[str, int]:
        """Return the width of each block of columns, in order."""
        widths = behaviour_blocks(store) if self.describe == "behaviour" else self._shape_blocks(store)
        return {**widths, "return": 1} if self.returns else widths

    def _shape_blocks(self, store: TrajectoryStore) -> dict[str, int]:
        widths = {"length": 1, "speed_mean": 1, "speed_std": 1, "keyframes": self.keyframes * store.obs_dim}
        act = store.action_dim
        return {**widths, "action_mean": act, "action_std": act} if self.actions else widths


def trajectory_features(store: TrajectoryStore, ids: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Describe episodes (n,) by features (n, F) float32."""
    store.require_vectors("clustering")
    out = np.empty((len(ids), sum(spec.blocks(store).values())), np.float32)
    by_behaviour = spec.describe == "behaviour"
    step = max(1, BLOCK_STEPS // max(1, STEPS if by_behaviour else spec.keyframes))
    for first in range(0, len(ids), step):
        part = ids[first : first + step]
        columns = [behaviour(store, part) if by_behaviour else _shape(store, part, spec)]
        if spec.returns:
            columns.append(store.table.returns[part, None])
        out[first : first + step] = np.concatenate(columns, axis=1)
    return out


def _shape(store: TrajectoryStore, ids: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Describe episodes (n,) by length, speed, key frames and, if asked, actions."""
    frames = store.obs.rows(_keyframe_rows(store, ids, spec.keyframes))  # (n, K, obs)
    speed = np.linalg.norm(np.diff(frames, axis=1), axis=-1)  # (n, K-1)
    head = np.stack([store.table.length[ids], speed.mean(1), speed.std(1)], axis=1)
    columns = [head, frames.reshape(len(ids), -1)]
    return np.concatenate([*columns, _action_statistics(store, ids)] if spec.actions else columns, axis=1)


def step_rows(
    store: TrajectoryStore, ids: np.ndarray, block_steps: int = BLOCK_STEPS
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield in blocks: slice of ids, action rows of their steps, where in those rows each episode begins."""
    length, start = store.table.length[ids], store.table.start[ids]
    total = np.cumsum(length)
    first = 0
    while first < len(ids):
        done = total[first] - length[first]
        last = max(first + 1, int(np.searchsorted(total, done + block_steps, side="right")))
        begins = total[first:last] - length[first:last] - done  # (m,)
        rows = np.repeat(start[first:last] - begins, length[first:last]) + np.arange(total[last - 1] - done)
        yield slice(first, last), rows, begins
        first = last


def _keyframe_rows(store: TrajectoryStore, ids: np.ndarray, count: int) -> np.ndarray:
    """Return observation rows (n, K), evenly spread over o_0 .. o_T, both ends included."""
    step = np.linspace(0, store.table.length[ids], count, axis=1).astype(np.int64)  # (n, K)
    return (store.table.start[ids] + ids)[:, None] + step


def _action_statistics(store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
    """Return mean and std of every action (n, 2 act)."""
    out = np.empty((len(ids), 2 * store.action_dim))
    for part, rows, begins in step_rows(store, ids):
        actions = store.actions.rows(rows).astype(np.float64)  # (m, act)
        count = store.table.length[ids[part], None]
        mean = np.add.reduceat(actions, begins) / count
        spread = np.square(actions - np.repeat(mean, count[:, 0], axis=0))
        out[part] = np.concatenate([mean, np.sqrt(np.add.reduceat(spread, begins) / count)], axis=1)
    return out


class Scaler:
    """(x - mean) / std / sqrt(block width), then principal components if asked."""

    def __init__(self, mean: np.ndarray, divisor: np.ndarray, axes: np.ndarray) -> None:
        self.mean, self.divisor, self.axes = (
            mean,
            divisor,
            axes,
        )  # (F,), (F,), (F, d); axes (F, 0): no projection

    @classmethod
    def fit(cls, x: np.ndarray, widths: list[int], block_scale: bool = True, components: int = 0) -> Scaler:
        """Learn from features (n, F); constant columns keep their size."""
        mean = x.mean(0, dtype=np.float64)
        squares = sum(np.square(block - mean).sum(0) for block in _blocks(x))
        std = np.sqrt(squares / max(1, len(x)))
        divisor = np.where(std > 1e-6 * np.maximum(1e-6, np.abs(mean)), std, 1.0)
        if block_scale:
            divisor = divisor * np.repeat(np.sqrt(widths), widths)
        plain = cls(mean, divisor, np.zeros((x.shape[1], 0)))
        if not 0 < components < x.shape[1]:
            return plain
        scaled = plain(x)
        _, axes = np.linalg.eigh(np.asarray(scaled.T @ scaled / len(x), np.float64))  # ascending
        return cls(mean, divisor, axes[:, ::-1][:, :components])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Scale features (n, F) to (n, F) or (n, d), float32."""
        out = np.empty((len(x), self.axes.shape[1] or x.shape[1]), np.float32)
        for block, target in zip(_blocks(x), _blocks(out), strict=True):
            scaled = (block - self.mean) / self.divisor
            target[:] = scaled @ self.axes if self.axes.shape[1] else scaled
        return out

    def state(self) -> dict[str, np.ndarray]:
        """Return the three arrays."""
        return {"mean": self.mean, "divisor": self.divisor, "axes": self.axes}


def _blocks(x: np.ndarray) -> list[np.ndarray]:
    """Return views of rows (n, F), so that no copy of all of them is made in double precision."""
    step = max(1, (BLOCK_STEPS << 3) // max(1, x.shape[1]))
    return [x[first : first + step] for first in range(0, len(x), step)]
