"""Trajectories and states in three principal components, with what was learned from each.

The features are those of the clustering: what was done, each column standardised, blocks weighed alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trajrl.core.rng import stream
from trajrl.report.charts import captions
from trajrl.report.charts.chart import Cloud
from trajrl.samplers.clustering.fit import ClusterSpec, fit, score_counts
from trajrl.samplers.clustering.kmeans import nearest
from trajrl.samplers.clustering.states import StateClusters
from trajrl.samplers.quality import Config
from trajrl.store.features import FeatureSpec, Scaler, trajectory_features

if TYPE_CHECKING:
    import pandas as pd

    from trajrl.store.store import TrajectoryStore

MOST_POINTS = 2000  # of a cloud; more are thinned at random, and the title says so
COLUMNS = {
    "cluster": "cluster", "return": "returns", "source": "source", "draws": "draws", "TD error": "td_mean",
    "phase": "phase", "length": "length",
}  # fmt: skip


def trajectory_cloud(
    store: TrajectoryStore, episodes: pd.DataFrame | None = None, seed: int = 0, key: str = "trajectories"
) -> Cloud:
    """Return the store's live episodes as points; `episodes` is a run's table, for draws and TD errors."""
    ids, thinned = _thin(store.live, seed)
    spec = FeatureSpec()
    x = trajectory_features(store, ids, spec)
    points, explained = principal(x, list(spec.blocks(store).values()))
    columns = episode_columns(store, ids, episodes, seed)
    label = {"episode": ids, "return": store.table.returns[ids], "length": store.table.length[ids]}
    title = f"Trajectories in three components{thinned}"
    return Cloud(key, title, captions.TRAJECTORIES, points, explained, columns, label)


def state_cloud(
    store: TrajectoryStore,
    episodes: pd.DataFrame | None = None,
    seed: int = 0,
    key: str = "states",
    clusters: StateClusters | None = None,
) -> Cloud:
    """Return states drawn evenly over all steps as points, each with its cluster and its episode's columns.

    Args:
        clusters: of states, as a run's `quality` sampler judged by them; None: fitted here as it would
    """
    live = store.live
    length = store.table.length[live]
    total = np.cumsum(length)
    count = min(MOST_POINTS, int(total[-1]))
    row = np.sort(stream(seed, "report/states").choice(int(total[-1]), count, replace=False))
    place = np.searchsorted(total, row, side="right")
    ids, step = live[place], row - (total - length)[place]
    x = store.obs.rows(store.table.start[ids] + ids + step)  # (n, obs)
    points, explained = principal(x, [1] * x.shape[1])
    found = (clusters or fitted_states(store, seed)).nearest(x)
    own = np.array([f"state cluster {c}" for c in found], object)
    columns = {**episode_columns(store, ids, episodes, seed), "step": step, "state cluster": own}
    label = {"episode": ids, "step": step, "return": store.table.returns[ids]}
    some = f" ({count} of {int(total[-1])})" if count < total[-1] else ""
    return Cloud(key, f"States in three components{some}", captions.STATES, points, explained, columns, label)


def fitted_states(store: TrajectoryStore, seed: int) -> StateClusters:
    """Cluster the states of a store as the `quality` sampler does where the critic judges."""
    config = Config()
    clusters = StateClusters(config.states, config.components, seed)
    clusters.fit(store)
    return clusters


def principal(x: np.ndarray, widths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised features (n, F) along three components (n, 3), and the shares (3,) they explain."""
    scaled = Scaler.fit(x, widths)(x).astype(np.float64)
    scaled -= scaled.mean(0)
    count = min(3, x.shape[1])
    if x.shape[1] > len(x):
        points = _of_few(scaled)
    else:
        points = Scaler.fit(x, widths, components=count)(x) if count < x.shape[1] else scaled
    explained = points.var(0) / max(scaled.var(0).sum(), 1e-12)
    missing = 3 - points.shape[1]
    return np.pad(points, ((0, 0), (0, missing))).astype(np.float32), np.pad(explained, (0, missing))


def _of_few(centred: np.ndarray) -> np.ndarray:
    """Return rows (n, F), n < F, along three components: from n x n products, not F x F."""
    value, vector = np.linalg.eigh(centred @ centred.T)  # ascending
    return (vector * np.sqrt(np.maximum(value, 0.0)))[:, ::-1][:, :3]


def episode_columns(
    store: TrajectoryStore, ids: np.ndarray, episodes: pd.DataFrame | None, seed: int
) -> dict[str, np.ndarray]:
    """Return what is known of each episode (n,), under names a reader knows; constant ones are left out."""
    table = store.table.to_frame()
    if episodes is not None and len(episodes):
        own = episodes.set_index("episode").reindex(table.index)
        table = table.assign(**{name: own[name] for name in ("cluster", "draws", "td_mean") if name in own})
    if "cluster" not in table or not (table["cluster"].iloc[ids] >= 0).any():
        shown = np.unique(ids)
        table.loc[shown, "cluster"] = own_clusters(store, shown, seed)
    chosen = table.iloc[ids]
    columns: dict[str, np.ndarray] = {}
    for name, column in COLUMNS.items():
        if column not in chosen:
            continue
        values = chosen[column].to_numpy()
        if name == "cluster":
            values = np.array([f"cluster {int(c)}" if c >= 0 else "no cluster" for c in values], object)
        if name in ("cluster", "return", "draws") or len(set(values.tolist())) > 1:
            columns[name] = values
    return columns


def own_clusters(store: TrajectoryStore, ids: np.ndarray, seed: int) -> np.ndarray:
    """Cluster episodes (n,) for colour alone, where the run had no use for clusters."""
    spec = ClusterSpec(restarts=5)
    x = trajectory_features(store, ids, spec.features)
    x = Scaler.fit(x, list(spec.features.blocks(store).values()))(x)
    scores = score_counts(x, store.table.returns[ids], spec, seed)
    count = min(scores, key=scores.__getitem__) if scores else 1
    return nearest(x, fit(x, count, spec, seed))


def _thin(ids: np.ndarray, seed: int) -> tuple[np.ndarray, str]:
    """Keep at most MOST_POINTS ids, and say so."""
    if len(ids) <= MOST_POINTS:
        return ids, ""
    kept = np.sort(stream(seed, "report/trajectories").choice(ids, MOST_POINTS, replace=False))
    return kept, f" ({MOST_POINTS} of {len(ids)})"
