"""Returns of episodes for sampling laws: undiscounted, of the raw rewards, and always numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

ROUNDING = 1e-6  # relative; rewards are float32


def returns_of(store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
    """Return G_e (n,) of episodes; one that is NaN or infinite is refused by name."""
    return all_finite(store.table.returns[ids], ids, "return")


def first_observations(store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
    """Return o_0 (n, obs) of episodes; one that is not all numbers is refused by name."""
    store.require_vectors("a law of first observations")
    first = store.obs.rows(store.table.start[ids] + ids)
    all_finite(first.sum(1), ids, "first observation")
    return first


def all_finite(values: np.ndarray, ids: np.ndarray, what: str) -> np.ndarray:
    """Return the values (n,) of episodes, or say which of them is not a number."""
    bad = ids[~np.isfinite(values)]
    if len(bad):
        raise ValueError(
            f"{len(bad)} of {len(ids)} episodes have a {what} that is not a number (first: {bad[0]}); "
            f"`store doctor` on the source lists them"
        )
    return values


def minmax(values: np.ndarray) -> np.ndarray:
    """Scale values (n,) to [0, 1]; equal ones, up to the rounding of float32 rewards, become zeros."""
    low, span = values.min(), np.ptp(values)
    return (values - low) / span if span > ROUNDING * np.abs(values).max() else np.zeros(len(values))


def best(values: np.ndarray, places: int) -> np.ndarray:
    """Return for each value how much of it is among the best `places`: 1, 0, or a share where tied."""
    border = np.partition(values, len(values) - places)[len(values) - places]
    above, tied = values > border, values == border
    return above + tied * (places - above.sum()) / tied.sum()
