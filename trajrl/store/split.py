"""Which whole episodes of a store are held out or shared out: spread evenly over source, cluster and return.

Episodes are put in order of source, cluster (where the table has one), return and a random number, and taken
at equal distances from a random place on: every group gives its share to within one episode, from its whole
range of returns.  The choice is a function of the seed, the content's fingerprint and the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trajrl.core.rng import stream
from trajrl.store.table import phase_code

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore


def stratified_share(store: TrajectoryStore, share: float, seed: int) -> np.ndarray:
    """Return the ids (m,) int64, ascending, of round(share n) of n offline episodes: 1 or more, never all.

    Args:
        share: between 0 and 1; 0: none
    """
    ids = np.flatnonzero(store.table.phase == phase_code("offline"))  # those held out already among them
    if not share or not len(ids):
        return np.zeros(0, np.int64)
    if len(ids) < 2:
        raise ValueError("one episode cannot be split into one to learn from and one to hold out")
    rng = stream(seed, "holdout", fingerprint_number(store))
    return evenly(store, ids, min(max(1, round(share * len(ids))), len(ids) - 1), rng)


def shared_out(store: TrajectoryStore, shares: Sequence[float], seed: int) -> list[np.ndarray]:
    """Return ids (m_i,) int64, ascending, of each part: all live episodes, every part from the whole range.

    Args:
        shares: each above 0, adding up to 1; every part gets its share to within one episode, and 1 or more
    """
    rest = store.live
    counts = _whole(np.asarray(shares) * len(rest))
    rng = stream(seed, "split", fingerprint_number(store))
    parts = []
    for count in counts[:-1].tolist():
        parts.append(evenly(store, rest, count, rng))
        rest = np.setdiff1d(rest, parts[-1], assume_unique=True)
    return [*parts, rest]


def evenly(store: TrajectoryStore, ids: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` of episodes (n,), ascending, at equal distances of their order from a random place."""
    first = rng.random()
    place = ((first + np.arange(count)) * len(ids) / count).astype(np.int64)  # (m,) distinct: n / m > 1
    return np.sort(ids[in_order(store, ids, rng)[place]])


def _whole(wanted: np.ndarray) -> np.ndarray:
    """Round counts (k,) so that their sum stays, the largest remainders up; each is at least 1."""
    total = round(float(wanted.sum()))
    if total < len(wanted):
        raise ValueError(f"{total} episodes cannot be shared out to {len(wanted)} parts: one is the least")
    counts = np.floor(wanted + 1e-9).astype(np.int64)
    up = np.argsort(counts - wanted, kind="stable")[: total - int(counts.sum())]
    counts[up] += 1
    while (counts < 1).any():
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return counts


def in_order(store: TrajectoryStore, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return places (n,) that put episodes in order of source, cluster and return; ties are broken by `rng`.

    Sources are ordered by name, so that it does not matter in which order a file numbers them.
    """
    table = store.table
    cluster = table.cluster[ids] if "cluster" in table.extra_names else np.zeros(len(ids))
    source = np.asarray(table.source[ids], str)
    return np.lexsort((rng.random(len(ids)), table.returns[ids], cluster, source))


def fingerprint_number(store: TrajectoryStore) -> int:
    """Return the content's fingerprint, as the data was opened, as a number."""
    found = str(store.attributes.get("fingerprint") or store.fingerprint)
    return int.from_bytes(found.encode(), "big")
