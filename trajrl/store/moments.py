"""Moments: count, mean, squared deviations, minimum and maximum per column, taken in block by block.

total = n + count      S = S_old + S_block + (mean_block - mean_old)^2 n count / total
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Moments:
    """Count, mean, squared deviations, minimum and maximum per column of the rows added, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.squares = self.low = self.high = np.zeros(0)

    def add(self, rows: np.ndarray) -> None:
        """Take in rows (n, width)."""
        block = rows.astype(np.float64)
        mean = block.mean(0)
        self._take(len(block), mean, np.square(block - mean).sum(0), block.min(0), block.max(0))

    @classmethod
    def of(cls, named: Mapping[str, np.ndarray], prefix: str, count: int) -> Moments:
        """Make the moments of `count` rows from what `named` returned of them."""
        found = cls()
        mean, std, low, high = (named[f"{prefix}_{name}"] for name in ("mean", "std", "min", "max"))
        found._take(count, mean, std**2 * max(0, count - 1), low, high)
        return found

    def join(self, other: Moments) -> None:
        """Take in the rows that another has taken in."""
        self._take(other.count, other.mean, other.squares, other.low, other.high)

    def _take(self, n: int, mean: np.ndarray, squares: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        if not self.count:
            self.count, self.mean, self.squares, self.low, self.high = n, mean, squares, low, high
            return
        total, delta = self.count + n, mean - self.mean
        self.squares = self.squares + squares + delta**2 * self.count * n / total
        self.mean = self.mean + delta * n / total
        self.low, self.high, self.count = np.minimum(self.low, low), np.maximum(self.high, high), total

    @property
    def std(self) -> np.ndarray:
        """Return the unbiased standard deviation; 0 for a single row."""
        return np.sqrt(self.squares / max(1, self.count - 1))

    def named(self, prefix: str) -> dict[str, np.ndarray]:
        """Return mean, std, min and max under `prefix`."""
        return {
            f"{prefix}_mean": self.mean, f"{prefix}_std": self.std,
            f"{prefix}_min": self.low, f"{prefix}_max": self.high,
        }  # fmt: skip
