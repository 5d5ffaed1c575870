"""What a trajectory's priority is measured by: one function per metric, and where its evidence comes from.

    store     f(store, ids) -> score of each episode, a fact of the data
    feedback  f(TD errors (m,)) -> evidence of each drawn row, averaged over time by the sampler
    score     f(Q (m, E)) -> evidence of each row that the agent is asked about

A trajectory without evidence yet scores the current maximum.  Scores are ranked, so shifting and powers of
rewards, which some codes apply, would change nothing and are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trajrl.samplers.base.returns import all_finite, returns_of
from trajrl.store.features import step_rows

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore


class Metric(NamedTuple):
    """Where the evidence comes from, and the function that reads it."""

    evidence: str  # store | feedback | score
    of: Callable[..., Any]


def uniform(store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
    """Every trajectory alike."""
    return np.ones(len(ids))


def success_binary(store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
    """2.0 for a success, 0.1 for a failure; only the environment or the data may say which."""
    success = store.table.success[ids]
    unknown = ids[success < 0]
    if len(unknown):
        raise ValueError(
            f"success_binary needs to know which episodes succeeded; {len(unknown)} of {len(ids)} do not say "
            f"(first: {unknown[0]}): choose another metric"
        )
    return np.where(success == 1, 2.0, 0.1)


def episode_return(store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
    """Sum of rewards."""
    return returns_of(store, ids)


def avg_reward(store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
    """Mean reward."""
    return _over_rewards(store, ids, lambda r, begins, count: np.add.reduceat(r, begins) / count)


def min_reward(store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
    """Smallest reward."""
    return _over_rewards(store, ids, lambda r, begins, count: np.minimum.reduceat(r, begins))


def max_reward(store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
    """Largest reward."""
    return _over_rewards(store, ids, lambda r, begins, count: np.maximum.reduceat(r, begins))


def uqm_reward(store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
    """Upper-quarter mean: of the rewards in ascending order, those from floor(0.75 T) on."""
    return _over_rewards(store, ids, lambda r, begins, count: _upper_mean(r, begins, count, 3 * count // 4))


def uhm_reward(store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
    """Upper-half mean: of the rewards in ascending order, those from floor(T / 2) on."""
    return _over_rewards(store, ids, lambda r, begins, count: _upper_mean(r, begins, count, count // 2))


def td_error_rank(td_error: np.ndarray) -> np.ndarray:
    """Absolute TD error of each row; an episode of which no row was ever used counts as the median."""
    return np.abs(td_error)


def q_uncertainty(q: np.ndarray) -> np.ndarray:
    """Variance of Q over the critics of an ensemble (m, E)."""
    if q.shape[1] < 2:
        raise ValueError("q_uncertainty needs an agent with at least 2 critics; this one gives 1 value")
    return q.var(axis=1)


METRICS = {
    "avg_reward": Metric("store", avg_reward),
    "max_reward": Metric("store", max_reward),
    "min_reward": Metric("store", min_reward),
    "q_uncertainty": Metric("score", q_uncertainty),
    "return": Metric("store", episode_return),
    "success_binary": Metric("store", success_binary),
    "td_error_rank": Metric("feedback", td_error_rank),
    "uhm_reward": Metric("store", uhm_reward),
    "uniform": Metric("store", uniform),
    "uqm_reward": Metric("store", uqm_reward),
}

Reduce = Callable[
    [np.ndarray, np.ndarray, np.ndarray], np.ndarray
]  # rewards, begins, counts -> one per episode


def _over_rewards(store: TrajectoryStore, ids: np.ndarray, reduce: Reduce) -> np.ndarray:
    """Reduce the rewards of each episode (n,), in blocks; NaN is refused by episode."""
    out = np.empty(len(ids))
    for part, rows, begins in step_rows(store, ids):
        out[part] = reduce(store.rewards.rows(rows).astype(np.float64), begins, store.table.length[ids[part]])
    return all_finite(out, ids, "reward")


def _upper_mean(r: np.ndarray, begins: np.ndarray, count: np.ndarray, skip: np.ndarray) -> np.ndarray:
    """Return the mean of each episode's rewards but the `skip` smallest."""
    owner = np.repeat(np.arange(len(count)), count)
    ordered = r[np.lexsort((r, owner))]
    place = np.arange(len(r)) - np.repeat(begins, count)
    kept = np.where(place >= np.repeat(skip, count), ordered, 0.0)
    nan = np.where(np.isnan(np.add.reduceat(r, begins)), np.nan, 0.0)
    return np.add.reduceat(kept, begins) / (count - skip) + nan
