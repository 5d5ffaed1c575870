"""Statistics kept with a store, and the published reward transforms as named functions.

    moments of parts A and B: n = nA + nB, d = mB - mA, mean = mA + d nB/n, M2 = M2A + M2B + d^2 nA nB/n

Transforms are elementwise and are applied to what training sees; the store keeps rewards as found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from trajrl.store.moments import Moments

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

BLOCK = 1_000_000  # rows


def statistics(store: TrajectoryStore) -> dict[str, np.ndarray]:
    """Return the statistics kept with the store's file, or compute them over its real rows."""
    kept = store.attributes.get("statistics", {})
    if "obs_mean" in kept:
        return kept
    obs, action, reward = Moments(), Moments(), Moments()
    if store.table.alive.all() and store.num_steps == len(store.actions):  # every row counts: no episodes
        for moments, column in ((obs, store.obs), (action, store.actions), (reward, store.rewards)):
            for first in range(0, len(column), BLOCK):
                block = column.slice(first, min(first + BLOCK, len(column)))
                moments.add(block[:, None] if block.ndim == 1 else block)
    else:
        for episode in store.episodes():
            obs.add(episode.obs)
            action.add(episode.actions)
            reward.add(episode.rewards[:, None])
    return {**obs.named("obs"), **action.named("action"), **reward.named("reward")}


def seen_statistics(store: TrajectoryStore) -> dict[str, np.ndarray]:
    """Return the statistics of what windows show: a goal beside a state is on the states' scale."""
    found, times = statistics(store), store.seen_dim // max(1, store.obs_dim)
    return {name: np.tile(part, times) if name.startswith("obs_") else part for name, part in found.items()}


# Reward transforms, r -> scale * r + shift.


def unchanged(store: TrajectoryStore) -> tuple[float, float]:
    """r"""
    return 1.0, 0.0


def normalize(store: TrajectoryStore) -> tuple[float, float]:
    """(r - mean) / std"""
    found = statistics(store)
    mean, std = float(found["reward_mean"][0]), float(found["reward_std"][0])
    if std == 0:
        raise ValueError("reward transform 'normalize' needs rewards that vary; all are equal")
    return 1 / std, -mean / std


def iql_antmaze(store: TrajectoryStore) -> tuple[float, float]:
    """r - 1"""
    return 1.0, -1.0


def iql_locomotion(store: TrajectoryStore) -> tuple[float, float]:
    """1000 r / (largest return - smallest return), over whole episodes"""
    returns = store.table.returns[store.table.alive]
    if returns.max() == returns.min():
        raise ValueError("reward transform 'iql_locomotion' needs returns that differ; all are equal")
    return 1000.0 / float(returns.max() - returns.min()), 0.0


def scaled(store: TrajectoryStore) -> tuple[float, float]:
    """0.1 r / root mean square of r: values of about 10 where gamma is 0.99, whatever the task's scale

    Rewards that are all 0 are 0 at any scale.
    """
    found = statistics(store)
    square = float(found["reward_mean"][0]) ** 2 + float(found["reward_std"][0]) ** 2
    return (0.1 / square**0.5 if square else 1.0), 0.0


def cql_antmaze(store: TrajectoryStore) -> tuple[float, float]:
    """4 (r - 0.5)"""
    return 4.0, -2.0


def cal_ql_antmaze(store: TrajectoryStore) -> tuple[float, float]:
    """10 r - 5: of rewards 0 and 1 it makes -5 and 5"""
    return 10.0, -5.0


def cal_ql_adroit(store: TrajectoryStore) -> tuple[float, float]:
    """10 r + 5: of rewards -1 and 0 it makes -5 and 5"""
    return 10.0, 5.0


def rebrac_antmaze(store: TrajectoryStore) -> tuple[float, float]:
    """100 r"""
    return 100.0, 0.0


def antmaze(store: TrajectoryStore) -> tuple[float, float]:
    """2 (r - 0.25)"""
    return 2.0, -0.5


REWARD_TRANSFORMS: dict[str, Callable[[TrajectoryStore], tuple[float, float]]] = {
    "antmaze": antmaze,
    "cal_ql_adroit": cal_ql_adroit,
    "cal_ql_antmaze": cal_ql_antmaze,
    "cql_antmaze": cql_antmaze,
    "iql_antmaze": iql_antmaze,
    "iql_locomotion": iql_locomotion,
    "no": unchanged,
    "normalize": normalize,
    "rebrac_antmaze": rebrac_antmaze,
    "scaled": scaled,
}
