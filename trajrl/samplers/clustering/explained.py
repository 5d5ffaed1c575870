"""What clusters say of their episodes, beside what labels shuffled among them would say.

    variance of x    eta^2 = sum_c n_c (mean_c - mean)^2 / sum (x - mean)^2      shuffled: (C - 1) / (n - 1)
    sources          I(cluster; source) / mean(H(cluster), H(source))            shuffled: mean of 50 shuffles

Shuffled labels keep the sizes of the clusters.  1 says all; what is no higher than by chance says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trajrl.core.rng import stream
from trajrl.samplers.base.returns import ROUNDING

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

SHUFFLES = 50


class Explained(NamedTuple):
    """How much clusters say of something, and how much shuffled labels would."""

    share: float
    chance: float


def explained(store: TrajectoryStore, labels: np.ndarray, seed: int = 0) -> dict[str, Explained]:
    """Return what labels (E,) say of returns, lengths and sources, as far as these differ."""
    ids = store.live
    table, label = store.table, labels[ids]
    found = {}
    for name, x in (("return", table.returns[ids]), ("length", table.length[ids].astype(np.float64))):
        if (share := share_of_variance(label, x)) is not None:
            count = len(np.unique(label))
            found[name] = Explained(share, (count - 1) / max(1, len(ids) - 1))
    source = table.source_code[ids]
    if len(np.unique(source)) > 1:
        rng = stream(seed, "cluster", 3)
        shuffled = [mutual_information(rng.permutation(label), source) for _ in range(SHUFFLES)]
        found["source"] = Explained(mutual_information(label, source), float(np.mean(shuffled)))
    return found


def share_of_variance(label: np.ndarray, x: np.ndarray) -> float | None:
    """Return the share of the variance of x (n,) that lies between clusters; None where x does not vary."""
    total = np.square(x - x.mean()).sum()
    if not total > ROUNDING**2 * np.square(x).sum():
        return None
    _, place, count = np.unique(label, return_inverse=True, return_counts=True)
    mean = np.bincount(place, x) / count  # (C,)
    return float(count @ np.square(mean - x.mean()) / total)


def mutual_information(label: np.ndarray, source: np.ndarray) -> float:
    """Return I(label; source) / mean(H(label), H(source)) of (n,) both; 0 where neither varies."""
    a, b = (np.unique(column, return_inverse=True)[1] for column in (label, source))
    joint = np.bincount(a * (b.max() + 1) + b, minlength=(a.max() + 1) * (b.max() + 1)) / len(a)
    table = joint.reshape(a.max() + 1, b.max() + 1)
    own, other = entropy(table.sum(1)), entropy(table.sum(0))
    return float(2 * (own + other - entropy(joint)) / (own + other)) if own + other else 0.0


def entropy(p: np.ndarray) -> float:
    """Return the entropy of shares (n,) in nats."""
    seen = p[p > 0]
    return float(-(seen * np.log(seen)).sum())
