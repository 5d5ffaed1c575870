"""`store cluster`: group the trajectories of a store; write labels, centres and scores into a copy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from trajrl.cli.common import Common, progress, say
from trajrl.cli.option import silent
from trajrl.core.cpu import from_environment

if TYPE_CHECKING:
    from trajrl.samplers.clustering.fit import Clustering
    from trajrl.store.store import TrajectoryStore

BAR = 40  # characters of the longest bar
WORDS = {
    "return": "share of the variance of returns that the clusters explain",
    "length": "share of the variance of lengths",
    "source": "information shared with the source",
}


@dataclass(frozen=True, kw_only=True)
class Cluster(Common):
    """Cluster trajectories by k-means on their features and write the labels into a copy of the store."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="X.h5")]
    """Store to cluster."""
    out: Annotated[Path, tyro.conf.arg(metavar="Y.h5")]
    """Store to write: the same episodes with labels; may be the source itself."""
    clusters: Annotated[str, tyro.conf.arg(metavar="auto|N")] = "auto"
    """How many clusters; auto: the count of 2 to 12 whose clusters have the most homogeneous returns."""
    describe: Annotated[str, tyro.conf.arg(metavar="behaviour|shape")] = "behaviour"
    """What a trajectory is described by: what was done, or its length, speed and key frames."""
    keyframes: int = 20
    """Observations in the shape of a trajectory."""
    actions: bool = False
    """Also describe a shape by the mean and std of its actions."""
    returns: bool = False
    """Also describe it by its return."""
    components: int = 0
    """Principal components of the features to keep; 0: all features."""
    block_scale: bool = True
    """Weigh every column alike; else all of one block, such as key frames, as much as a single one."""
    restarts: int = 20
    """Starts of k-means, the best of which is kept."""
    threads: Annotated[int, silent("N", "what OMP_NUM_THREADS says, else 1")] = 0
    """Threads of FAISS; the labels do not depend on it."""
    overwrite: bool = False
    """Replace a store of other episodes that has this name."""

    def run(self) -> dict[str, Any]:
        """Cluster, write, and print what the clusters are."""
        from trajrl.samplers.clustering.fit import ClusterSpec, cluster_store
        from trajrl.samplers.clustering.labels import write_clustering
        from trajrl.store.file.writer import refuse_foreign
        from trajrl.store.store import TrajectoryStore

        spec = ClusterSpec(
            self._count(), self.keyframes, self.actions, self.returns, self.components, self.block_scale,
            self.restarts, self.threads or from_environment(), describe=self.describe,
        )  # fmt: skip
        spec.validate()
        refuse_foreign(self.out)
        store = TrajectoryStore.open(self.source)
        self._refuse_others(store.fingerprint)
        found = cluster_store(store, spec, self.seed, progress)
        write_clustering(self.source, self.out, store, found)
        answer = describe_clusters(store, found, self.seed)
        _print(answer)
        say(f"wrote {self.out}")
        return {**answer, "seed": self.seed, "out": str(self.out), "fingerprint": store.fingerprint}

    def _refuse_others(self, fingerprint: str) -> None:
        """Refuse to replace a store of other episodes; new labels for the same ones lose nothing."""
        from trajrl.store.file.describe import describe_store

        if self.overwrite or not self.out.exists() or describe_store(self.out)["fingerprint"] == fingerprint:
            return
        raise FileExistsError(
            f"{self.out} exists and holds other episodes; choose another name or add --overwrite"
        )

    def _count(self) -> int | str:
        if self.clusters == "auto" or not self.clusters.lstrip("-").isdigit():
            return self.clusters
        return int(self.clusters)


def describe_clusters(store: TrajectoryStore, found: Clustering, seed: int = 0) -> dict[str, Any]:
    """Return count, scores, what clusters explain, and size, length, return and sources of each."""
    from trajrl.samplers.cluster import cluster_table
    from trajrl.samplers.clustering.explained import explained

    ids = store.live
    rows = []
    for c, row in cluster_table(store, found.labels, ids).items():
        source = store.table.source[ids[found.labels[ids] == c]]
        names = {name: int((source == name).sum()) for name in sorted(set(source)) if name}
        rows.append({"cluster": c, **row, "episodes": int(row["episodes"]), "sources": names})
    return {
        "clusters": found.count, "score": found.scores.get(found.count), "scores": found.scores,
        "explained": {name: one._asdict() for name, one in explained(store, found.labels, seed).items()},
        "per_cluster": rows, "features": found.spec.features.blocks(store), "notes": list(found.notes),
    }  # fmt: skip


def _print(answer: dict[str, Any]) -> None:
    """Print the table of clusters and a bar for the score of every count."""
    sources = any(row["sources"] for row in answer["per_cluster"])
    say("cluster  episodes  length mean  length std  return mean" + ("  sources" if sources else ""))
    for row in answer["per_cluster"]:
        names = ", ".join(f"{name} {count}" for name, count in row["sources"].items())
        say(
            f"{row['cluster']:>7}  {row['episodes']:>8}  {row['length_mean']:>11.1f}  "
            f"{row['length_std']:>10.1f}  {row['return_mean']:>11.2f}" + (f"  {names}" if sources else "")
        )
    for name, one in answer["explained"].items():
        say(f"{WORDS[name]}: {one['share']:.1%}; shuffled clusters of these sizes: {one['chance']:.1%}")
    most = max(answer["scores"].values(), default=0.0)
    if most > 0:
        say("score J of every count (the smallest is chosen):" if len(answer["scores"]) > 1 else "score J:")
    for count, score in answer["scores"].items():
        mark = "  <" if count == answer["clusters"] and len(answer["scores"]) > 1 else ""
        say(
            f"{count:>7}  {score:.4f}  {'#' * round(BAR * score / most)}{mark}"
            if most > 0
            else f"{count:>7}  0"
        )
    for note in answer["notes"]:
        say(f"note: {note}")
