"""Frontier: how much of the episodes of each cluster is open, counted from their end, and why it moved.

    open_c <- min(1, open_c + stride)  when enough rows of the band open_c - stride <= d <= open_c were seen,
    and their mean |TD error| is at most `fall` of its largest since the band was opened, or time is up

Nothing that is open is closed again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BORDER = 1e-9  # rounding of distances
COLUMNS = ("open", "seen", "now", "most", "since")


class Frontier:
    """What is open of each cluster, and of the band last opened rows, mean error, largest, since when."""

    def __init__(self, begin: float, stride: float, rate: float) -> None:
        self.begin, self.stride, self.rate = begin, stride, rate
        self.open, self.seen = np.zeros(0), np.zeros(0)  # (C,) all five
        self.now, self.most, self.since = np.zeros(0), np.zeros(0), np.zeros(0)

    def grow(self, clusters: int, step: int) -> None:
        """Make room for clusters that are new at a training step: they begin at the beginning."""
        missing = clusters - len(self.open)
        if missing > 0:
            fill = {"open": self.begin, "since": float(step)}
            for name in COLUMNS:
                setattr(self, name, np.append(getattr(self, name), np.full(missing, fill.get(name, 0.0))))

    def learn(self, cluster: np.ndarray, distance: np.ndarray, error: np.ndarray) -> None:
        """Take in |TD errors| (m,) of rows of a cluster, at a distance from the end."""
        limit = self.open[cluster]
        inside = (distance <= limit + BORDER) & (distance >= np.minimum(limit, 1.0) - self.stride - BORDER)
        band = (cluster >= 0) & inside
        size = len(self.open)
        count = np.bincount(cluster[band], minlength=size)
        known = count > 0
        mean = np.bincount(cluster[band], error[band], minlength=size) / np.maximum(1, count)
        moved = np.where(self.seen > 0, (1 - self.rate) * self.now + self.rate * mean, mean)
        self.now = np.where(known, moved, self.now)
        self.most = np.maximum(self.most, self.now)
        self.seen = self.seen + count

    def advance(self, step: int, least: int, fall: float, patience: int) -> bool:
        """Open one more band where it is time; say whether that was so anywhere."""
        learned = (self.seen >= least) & (self.now <= fall * self.most)
        ready = (self.open < 1) & (learned | (step - self.since >= patience))
        self.open = np.where(ready, np.minimum(1.0, self.open + self.stride), self.open)
        self._begin_band(ready, step)
        return bool(ready.any())

    def open_to(self, shares: np.ndarray) -> bool:
        """Open begin + (1 - begin) share of each cluster (C,); say whether anything was opened."""
        there = np.maximum(self.open, self.begin + (1 - self.begin) * shares)
        moved = bool((there > self.open).any())
        self.open = there
        return moved

    def state_dict(self) -> dict[str, Any]:
        """Return every column."""
        return {name: getattr(self, name).copy() for name in COLUMNS}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore every column."""
        for name in COLUMNS:
            setattr(self, name, np.array(state[name], np.float64))

    def _begin_band(self, where: np.ndarray, step: int) -> None:
        """Forget what was learned of the band before."""
        self.seen, self.now, self.most = (
            np.where(where, 0.0, column) for column in (self.seen, self.now, self.most)
        )
        self.since = np.where(where, float(step), self.since)
