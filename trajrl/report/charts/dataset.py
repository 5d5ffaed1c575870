"""What is in a store: returns, lengths and sources of its episodes, and its clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trajrl.report.charts import captions
from trajrl.report.charts.chart import Chart, Series
from trajrl.samplers.clustering.fit import ClusterSpec, cluster_store

if TYPE_CHECKING:
    import pandas as pd

    from trajrl.samplers.clustering.fit import Clustering
    from trajrl.store.store import TrajectoryStore

BINS = 20


def describe_groups(store: TrajectoryStore, by: str = "source") -> pd.DataFrame:
    """Return one row per value of a column of the episode table: episodes, steps, lengths, returns, ends."""
    table = store.table.to_frame()
    table = table[table["alive"]]
    grouped = table.groupby(by)
    shares = grouped.agg(
        episodes=("length", "size"), steps=("length", "sum"), shortest=("length", "min"),
        longest=("length", "max"), return_mean=("returns", "mean"), return_std=("returns", "std"),
        terminated=("terminated", "mean"),
    )  # fmt: skip
    return shares.assign(share_of_steps=shares["steps"] / shares["steps"].sum())


def histogram(store: TrajectoryStore, column: str = "returns", by: str = "source") -> Chart:
    """Return how many episodes fall into each of twenty bins of a column, for every value of another."""
    table = store.table.to_frame()
    table = table[table["alive"]]
    values = table[column].to_numpy(float)
    edges = np.histogram_bin_edges(values, BINS)
    middle = (edges[:-1] + edges[1:]) / 2
    series = []
    for place, (name, own) in enumerate(table.groupby(by)):
        count = np.histogram(own[column], edges)[0]
        series.append(Series(str(name) or "unnamed", middle, count, place=place))
    words = f"Episodes by {column}", captions.HISTOGRAM, column, "episodes"
    return Chart(f"histogram-{column}", *words, series, kind="bins")


def clustered(store: TrajectoryStore, clusters: int | str = "auto", seed: int = 0) -> Clustering:
    """Cluster the store's episodes, put the labels into its table as `cluster`, and return the clustering."""
    found = cluster_store(store, ClusterSpec(clusters=clusters), seed)
    store.table.set("cluster", found.labels, fill=-1)
    return found


def count_chart(clustering: Clustering) -> Chart:
    """Return the homogeneity score of every number of clusters that was tried; the least is chosen."""
    counts = np.array(sorted(clustering.scores))
    scores = np.array([clustering.scores[int(count)] for count in counts])
    words = "Which number of clusters", captions.COUNTS, "clusters", "score J"
    return Chart("cluster-counts", *words, [Series("score J", counts, scores)])
