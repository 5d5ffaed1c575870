"""Fixed windows that a run is measured on: of held-out episodes by third, and as many of training episodes.

A step t of an episode of T is in third floor(3 t / T).  Windows are drawn once, none twice, from a stream of
their own: so every evaluation sees the same ones and no training number depends on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trajrl.core.rng import stream
from trajrl.store.return_to_go import known_returns
from trajrl.store.table import phase_code
from trajrl.store.window import Anchors

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

THIRDS = ("early", "middle", "late")
TRAINING = "training"  # windows of episodes that are learned from
MOST = 1_024  # windows of each third, and of training episodes: 4,096 in all


class Windows(NamedTuple):
    """Windows of one kind, and the discounted return that followed each in the data."""

    anchors: Anchors
    returns: np.ndarray  # (n,) NaN: the recording was cut too early to know


def fixed_windows(
    store: TrajectoryStore, held: np.ndarray, seed: int, gamma: float, most: int = MOST
) -> dict[str, Windows]:
    """Return the windows of each third of held-out episodes (m,), and of live offline ones, by name.

    Episodes that an online run collects are no part: a resumed run would begin with others.
    """
    length, live = store.table.length[held], store.live
    live = live[store.table.phase[live] == phase_code("offline")]
    edges = [-(-p * length // 3) for p in range(4)]  # (m,) each: the first steps of the thirds, and the end
    spans = {name: (held, edges[p], edges[p + 1]) for p, name in enumerate(THIRDS)}
    spans[TRAINING] = (live, np.zeros(len(live), np.int64), store.table.length[live])
    drawn = {name: draw(*span, most, seed, place) for place, (name, span) in enumerate(spans.items())}
    return {name: with_returns(store, anchors, gamma) for name, anchors in drawn.items() if len(anchors.step)}


def draw(ids: np.ndarray, first: np.ndarray, stop: np.ndarray, most: int, seed: int, place: int) -> Anchors:
    """Draw steps in [first, stop) of episodes (m,), equally likely and none twice; all if there are few."""
    total = np.cumsum(stop - first)
    count = min(most, int(total[-1]))
    row = np.sort(stream(seed, "validation", place).choice(total[-1], count, replace=False))  # (n,)
    which = np.searchsorted(total, row, side="right")
    step = row - (total - (stop - first))[which] + first[which]
    return Anchors(ids[which], step, np.ones(count, np.float32))


def with_returns(store: TrajectoryStore, anchors: Anchors, gamma: float) -> Windows:
    """Return the windows with what followed them."""
    found, _, known = known_returns(store, anchors.episode, anchors.step, gamma)
    return Windows(anchors, np.where(known, found, np.nan))
