"""What the first observation predicts of an episode's return, and what the episode brought beyond it.

    V(o_0) = w . (1, z, z^2 - 1),  z = o_0 standardised,  by ridge regression

Held-out error chooses the ridge, and the mean return where nothing predicts better.
Every episode is predicted by a fit to the other four fifths, so that V never follows an episode's own luck.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trajrl.samplers.base.episode_law import EpisodeLaw

FOLDS = 5
RIDGES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)  # times the number of episodes
BLOCK = 65_536  # episodes whose features are in memory together
EXPLAINED = 1e-5  # of the span of returns: what is left below this is rounding and ridge


def start_values(first: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """Return V (n,) for first observations (n, obs), of each episode by a fit without it."""
    if len(returns) < 2 * FOLDS:
        return np.full(len(returns), returns.mean())
    design, y = features(first), returns - returns.mean()
    weights = fits(design, y)  # (FOLDS, features, RIDGES)
    held, constant = np.empty((len(y), len(RIDGES))), np.empty(len(y))
    for rows in blocks(len(y)):
        x, fold = design(rows), rows % FOLDS
        for k in range(FOLDS):
            held[rows[fold == k]] = x[fold == k] @ weights[k]
    for k in range(FOLDS):
        own = np.arange(len(y)) % FOLDS == k
        constant[own] = y[~own].mean()
    errors = np.square(held - y[:, None]).mean(0)  # (RIDGES,)
    if np.square(constant - y).mean() <= errors.min():
        return np.full(len(y), returns.mean())
    return returns.mean() + held[:, errors.argmin()]


def features(first: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives the features (m, 1 + 2 obs) of some rows (m,)."""
    centre, spread = first.mean(0, dtype=np.float64), first.std(0, dtype=np.float64)
    spread = np.where(spread > 1e-12, spread, 1)

    def design(rows: np.ndarray) -> np.ndarray:
        z = (first[rows] - centre) / spread
        return np.column_stack([np.ones(len(rows)), z, z * z - 1])

    return design


def fits(design: Callable[[np.ndarray], np.ndarray], y: np.ndarray) -> np.ndarray:
    """Return the weights (FOLDS, features, RIDGES) of fits to all rows but those of each fold."""
    size = design(np.zeros(1, np.int64)).shape[1]
    gram, side = np.zeros((FOLDS, size, size)), np.zeros((FOLDS, size))
    for rows in blocks(len(y)):
        x, fold = design(rows), rows % FOLDS
        for k in range(FOLDS):
            own = x[fold == k]
            gram[k] += own.T @ own
            side[k] += own.T @ y[rows[fold == k]]
    penalty = np.diag(np.append(0.0, np.ones(size - 1)))
    return np.stack([
        np.stack([
            np.linalg.solve(gram.sum(0) - gram[k] + ridge * len(y) * penalty, side.sum(0) - side[k])
            for ridge in RIDGES
        ], 1) for k in range(FOLDS)
    ])  # fmt: skip


def blocks(count: int) -> list[np.ndarray]:
    """Return the rows 0 .. count - 1 in blocks."""
    return [np.arange(low, min(low + BLOCK, count)) for low in range(0, count, BLOCK)]


def beyond(sampler: EpisodeLaw, name: str, returns: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return G - V (n,); zeros where only rounding is left, which the sampler notes."""
    left = returns - value
    if np.ptp(left) < EXPLAINED * np.ptp(returns):
        sampler.note(f"{name}: the first observation explains every return; the law is uniform over steps")
        return np.zeros(len(returns))
    return left
