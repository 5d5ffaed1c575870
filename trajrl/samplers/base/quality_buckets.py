"""Buckets: the action rows of live episodes, sorted by bucket, so that drawing a row of one is a look-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trajrl.store.features import step_rows

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

THRESHOLDS = ("mean", "quantile")

LOW, HIGH, UNKNOWN = 0, 1, 2
NUM_BUCKETS = 3


class Buckets:
    """Rows of episodes `ids` by bucket; made anew when buckets or episodes change."""

    def __init__(self, store: TrajectoryStore, ids: np.ndarray, bucket: np.ndarray) -> None:
        self.ids = ids
        blocks = [rows for _, rows, _ in step_rows(store, ids)]
        rows = np.concatenate(blocks) if blocks else np.zeros(0, np.int64)
        held = bucket[rows]  # (R,)
        self.rows = rows[np.argsort(held, kind="stable")]
        self.count = np.bincount(held, minlength=NUM_BUCKETS)  # (3,)
        self.first = np.cumsum(self.count) - self.count
        owner = np.repeat(np.arange(len(ids)), store.table.length[ids])
        cells = np.bincount(owner * NUM_BUCKETS + held, minlength=NUM_BUCKETS * len(ids))
        self.per_episode = cells.reshape(-1, NUM_BUCKETS)  # (n, 3) rows of each episode in each bucket

    def draw(self, rng: np.random.Generator, n: int, weights: np.ndarray) -> np.ndarray:
        """Draw n rows, each by the weight (3,) of its bucket."""
        mass = self.count * weights
        if not mass.sum():
            raise ValueError("there is no row to draw from: no data yet, or all of it in buckets of weight 0")
        edges = np.cumsum(mass)
        bucket = np.searchsorted(edges, rng.random(n) * edges[-1], side="right")
        bucket = np.minimum(bucket, np.flatnonzero(mass)[-1])
        return self.rows[self.first[bucket] + rng.integers(self.count[bucket])]


def group_scores(q: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return q (m,) minus the mean of its group."""
    mean = np.bincount(group, q) / np.maximum(1, np.bincount(group))  # (C,)
    return q - mean[group]


def is_high(score: np.ndarray, group: np.ndarray, threshold: str, share: float) -> np.ndarray:
    """Return for each row (m,) whether it is high; rows that are all equal are all low."""
    limit = np.zeros(int(group.max(initial=0)) + 1)
    if threshold == "quantile":
        for c in np.unique(group):
            limit[c] = np.quantile(score[group == c], 1 - share)
    rounding = 1e-9 * max(1.0, float(np.abs(score).max(initial=0)))
    return score > limit[group] + rounding
