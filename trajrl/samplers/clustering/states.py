"""Clusters of states: k-means over standardised observations, fitted once; every row has a label.

New rows get the nearest centre.  Centres and scaler are state, labels follow from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.rng import integer, stream
from trajrl.samplers.base.drawn_steps import drawn_steps
from trajrl.samplers.clustering.kmeans import fit_centres, nearest
from trajrl.store.features import Scaler, step_rows

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

FIT_ROWS = 100_000
RESTARTS = 5


class StateClusters:
    """Labels of the observation at every action row of a store."""

    def __init__(self, clusters: int, components: int, seed: int) -> None:
        self.clusters, self.components, self.seed = clusters, components, seed
        self.labels = np.zeros(0, np.int16)  # (S,)
        self.centres = np.zeros((0, 0))  # (C, d); empty until there is something to fit
        self.scaler = Scaler(np.zeros(0), np.ones(0), np.zeros((0, 0)))

    def follow(self, store: TrajectoryStore) -> None:
        """Label the rows appended since; fit first if that has not happened."""
        known, size = len(self.labels), len(store.actions)
        self.labels = np.append(self.labels, np.zeros(max(0, size - known), np.int16))
        if self.clusters == 1 or not len(store.live):
            return
        if not len(self.centres):
            self.fit(store)
        ids = store.live
        ids = ids[store.table.start[ids] >= known]
        for part, rows, _ in step_rows(store, ids):
            episode = np.repeat(ids[part], store.table.length[ids[part]])
            self.labels[rows] = self.nearest(store.obs.rows(rows + episode))

    def nearest(self, obs: np.ndarray) -> np.ndarray:
        """Return the cluster (m,) of observations (m, obs); all are of one where nothing was fitted."""
        if not len(self.centres):
            return np.zeros(len(obs), np.int64)
        return nearest(self.scaler(obs), self.centres)

    def state_dict(self) -> dict[str, Any]:
        """Return centres and scaler."""
        return {"centres": self.centres, **self.scaler.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore centres and scaler; `follow` labels anew."""
        self.centres = np.asarray(state["centres"])
        self.scaler = Scaler(*(np.asarray(state[name]) for name in ("mean", "divisor", "axes")))
        self.labels = np.zeros(0, np.int16)

    def fit(self, store: TrajectoryStore) -> None:
        """Fit on at most FIT_ROWS rows of live episodes, drawn by the seed."""
        store.require_vectors("clustering of states")
        episode, step = drawn_steps(store, store.live, FIT_ROWS, stream(self.seed, "cluster", 2))
        obs = store.obs.rows(store.table.start[episode] + episode + step)  # (m, obs)
        if not np.isfinite(obs).all():
            bad = episode[~np.isfinite(obs).all(1)][0]
            raise ValueError(f"episode {bad} has observations that are not numbers; see `store doctor`")
        widths = [1] * obs.shape[1]
        self.scaler = Scaler.fit(obs, widths, block_scale=False, components=self.components)
        count = min(self.clusters, len(obs))
        self.centres = fit_centres(self.scaler(obs), count, integer(self.seed, "cluster", 2), RESTARTS)
