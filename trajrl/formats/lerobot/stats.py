"""Statistics as LeRobot's normalisers read them: of each episode, and of the whole set.

min, max, mean, std (of the population), count, and quantiles q01 q10 q50 q90 q99
a quantile of the set = the mean of those of its episodes, weighed by their frames: LeRobot's own rule
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trajrl.store.moments import Moments

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

Stats = dict[str, np.ndarray]  # name of a statistic -> (...), the shape of one frame; count is (1,)


def stats_of(rows: np.ndarray) -> Stats:
    """Return the statistics of rows (n, ...)."""
    numbers = rows.astype(np.float64)
    found = {
        "min": rows.min(0), "max": rows.max(0), "mean": numbers.mean(0), "std": numbers.std(0),
        "count": np.array([len(rows)]),
    }  # fmt: skip
    return found | dict(zip(QUANTILES, np.quantile(numbers, list(QUANTILES.values()), axis=0)))


class Total:
    """The statistics of one column over all episodes."""

    def __init__(self) -> None:
        self._moments = Moments()
        self._quantiles = {name: np.zeros(0) for name in QUANTILES}
        self._shape: tuple[int, ...] = ()
        self._kind = np.dtype(np.float64)

    def add(self, rows: np.ndarray, stats: Stats) -> None:
        """Take in the rows (n, ...) of an episode, of which these are the statistics."""
        if not self._moments.count:
            self._shape, self._kind = rows.shape[1:], rows.dtype
        self._moments.add(rows.reshape(len(rows), -1))
        for name, sums in self._quantiles.items():
            self._quantiles[name] = (sums if sums.size else 0) + len(rows) * stats[name].ravel()

    def plain(self) -> dict[str, list[Any]]:
        """Return the statistics as JSON has them."""
        found = self._moments
        kind = self._kind if self._kind.kind in "biu" else np.dtype(np.float64)
        std = np.sqrt(found.squares / found.count)
        columns = {
            "min": found.low.astype(kind),
            "max": found.high.astype(kind),
            "mean": found.mean,
            "std": std,
        }
        columns |= {name: sums / found.count for name, sums in self._quantiles.items()}
        shape = self._shape or (1,)
        return {n: v.reshape(shape).tolist() for n, v in columns.items()} | {"count": [found.count]}
