"""Clustering of trajectories: features, scaler, k-means centres, labels; C given, or the one of least J.

Clustering is data: `write_clustering` puts labels, centres, scaler, features, seed and J of every count into
a store file, and readers use what the file holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from trajrl.core.registry import unknown
from trajrl.core.rng import integer, stream
from trajrl.samplers.base.returns import returns_of
from trajrl.samplers.clustering.kmeans import fit_centres, nearest
from trajrl.samplers.clustering.num_clusters import candidates, homogeneity
from trajrl.store.features import DESCRIPTIONS, FeatureSpec, Scaler, trajectory_features

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

Show = Callable[..., Iterator[int]]  # (items, what, total, unit) -> the same items, shown as they go by
SUBSAMPLE = 20_000  # trajectories that the choice of a count looks at, where there are more


@dataclass(frozen=True)
class ClusterSpec:
    """How trajectories are clustered."""

    clusters: int | str = "auto"  # C; higher: finer balance, smaller clusters.  auto: least J(C) of 2 .. 12
    keyframes: int = 20  # observations in the shape of a trajectory; higher: in more detail
    actions: bool = False  # also describe a shape by mean and std of its actions
    returns: bool = False  # also describe a trajectory by its return
    components: int = 0  # principal components kept; lower: faster, coarser.  0: no projection
    block_scale: bool = True  # weigh all columns of a block, such as key frames, together as much as one
    restarts: int = 20  # k-means starts, the best of which is kept; higher: better, slower
    threads: int = 1  # of FAISS
    max_points: int = 50_000  # trajectories that k-means fits on, the rest is assigned; higher: slower
    describe: str = "behaviour"  # by what was done, or by shape: length, speed and key frames

    def validate(self) -> None:
        """Refuse numbers out of range."""
        if isinstance(self.clusters, str) and self.clusters != "auto":
            raise ValueError(f"clusters is a number or 'auto'; got '{self.clusters}'")
        if self.describe not in DESCRIPTIONS:
            raise ValueError(unknown("description of trajectories", self.describe, DESCRIPTIONS))
        least = {"clusters": 1, "keyframes": 2, "components": 0, "restarts": 1, "threads": 1, "max_points": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, str) and value < low:
                raise ValueError(f"the clustering option '{name}' is at least {low}; got {value}")

    @property
    def features(self) -> FeatureSpec:
        """Return which features describe a trajectory."""
        return FeatureSpec(self.keyframes, self.actions, self.returns, self.describe)


@dataclass(frozen=True, eq=False)
class Clustering:
    """Labels of a store's episodes, and what assigns new ones."""

    labels: np.ndarray  # (E,) int64, -1 for an episode that was not alive
    centres: np.ndarray  # (C, d) in scaled features
    scaler: Scaler
    spec: ClusterSpec
    seed: int
    scores: dict[int, float] = field(
        default_factory=dict
    )  # J of every count tried; of the one count if it was given
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Return C."""
        return len(self.centres)

    def assign(self, store: TrajectoryStore, ids: np.ndarray) -> np.ndarray:
        """Return the label (n,) of the nearest centre for any episodes of the store."""
        return nearest(self.scaler(trajectory_features(store, ids, self.spec.features)), self.centres)


def cluster_store(
    store: TrajectoryStore, spec: ClusterSpec, seed: int = 0, show: Show | None = None
) -> Clustering:
    """Cluster the live episodes of a store; more clusters than episodes is an error.

    Args:
        show: shows the counts that are tried as they go by.
    """
    ids = store.live
    _check_enough(spec, len(ids))
    returns = returns_of(store, ids)
    x = trajectory_features(store, ids, spec.features)
    scaler = Scaler.fit(x, list(spec.features.blocks(store).values()), spec.block_scale, spec.components)
    x = scaler(x)
    scores = score_counts(x, returns, spec, seed, show) if isinstance(spec.clusters, str) else {}
    wanted = spec.clusters if not isinstance(spec.clusters, str) else _least(scores)
    centres = fit(x, wanted, spec, seed)
    labels = np.full(len(store), -1)
    labels[ids] = nearest(x, centres)
    if len(centres) < wanted or not scores:
        scores[len(centres)] = homogeneity(labels[ids], returns)
    return Clustering(
        labels, centres, scaler, spec, seed, scores, _notes(spec, len(ids), wanted, len(centres))
    )


def _check_enough(spec: ClusterSpec, trajectories: int) -> None:
    """Refuse to make more clusters than there are trajectories."""
    if not trajectories:
        raise ValueError("there is no episode to cluster; import data or collect some first")
    if not isinstance(spec.clusters, str) and spec.clusters > trajectories:
        asked = spec.clusters
        raise ValueError(f"{asked} clusters need at least {asked} trajectories; there are {trajectories}")


def _notes(spec: ClusterSpec, trajectories: int, wanted: int, made: int) -> tuple[str, ...]:
    """Return what a reader of the result must know: fallbacks and subsamples."""
    notes = []
    if spec.clusters == "auto" and not candidates(trajectories):
        notes.append(f"{trajectories} trajectories are too few to choose a number of clusters; there is 1")
    if spec.clusters == "auto" and trajectories > SUBSAMPLE:
        notes.append(f"the count was chosen on {SUBSAMPLE} of {trajectories} trajectories")
    if wanted > 1 and trajectories > spec.max_points:
        notes.append(f"k-means was fitted on {spec.max_points} of {trajectories} trajectories")
    if made < wanted:
        notes.append(
            f"only {made} of {wanted} clusters have members: trajectories differ too little for more"
        )
    return tuple(notes)


def score_counts(
    x: np.ndarray, returns: np.ndarray, spec: ClusterSpec, seed: int, show: Show | None = None
) -> dict[int, float]:
    """Return J(C) of every candidate count, on a subsample of 20,000 trajectories where there are more."""
    if len(x) > SUBSAMPLE:
        chosen = np.sort(stream(seed, "cluster", 1).choice(len(x), SUBSAMPLE, replace=False))
        x, returns = x[chosen], returns[chosen]
    counts = candidates(len(x))
    shown = counts if show is None else show(counts, "clustering", len(counts), "counts of clusters")
    labels = {count: nearest(x, fit(x, count, spec, seed)) for count in shown}
    return {count: homogeneity(label, returns) for count, label in labels.items()}


def fit(x: np.ndarray, count: int, spec: ClusterSpec, seed: int) -> np.ndarray:
    """Return the centres of scaled features (n, d) under the spec's restarts, threads and cap on points."""
    return fit_centres(x, count, integer(seed, "cluster"), spec.restarts, spec.threads, spec.max_points)


def _least(scores: dict[int, float]) -> int:
    """Return the count of the smallest score, the smaller count where tied; 1 where none was tried."""
    return min(scores, key=lambda count: (scores[count], count)) if scores else 1
