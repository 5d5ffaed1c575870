"""A clustering in a store file: the table's column `cluster`, small arrays under stats/, one attribute.

    table/cluster (E,) int32      stats/cluster_centres, cluster_mean, cluster_divisor, cluster_axes
    attribute `clustering`: spec, seed, names of the features, J of every count

None of it is content: the fingerprint stays what it was.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajrl.core.atomic_files import new_file
from trajrl.samplers.clustering.fit import Clustering, ClusterSpec
from trajrl.store.features import Scaler

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

COLUMN = "cluster"


def write_clustering(source: Path, out: Path, store: TrajectoryStore, clustering: Clustering) -> None:
    """Copy a store file and put the clustering into the copy; `out` appears whole or not at all."""
    import h5py

    from trajrl.store.file.hdf5 import put, seal, write_attributes
    from trajrl.store.file.writer import state_read

    with new_file(out, state_read(out, [store])) as copy:
        shutil.copyfile(source, copy)
        with h5py.File(copy, "r+") as file:
            put(file, f"table/{COLUMN}", clustering.labels.astype(np.int32))
            for name, values in _arrays(clustering).items():
                put(file, f"stats/{name}", values)
            write_attributes(file, {"clustering": describe_clustering(store, clustering)})
            seal(file)


def describe_clustering(store: TrajectoryStore, clustering: Clustering) -> dict[str, object]:
    """Return what the attribute holds."""
    spec = clustering.spec
    return {
        "spec": asdict(spec), "seed": clustering.seed, "count": clustering.count,
        "features": spec.features.blocks(store), "scores": clustering.scores, "notes": list(clustering.notes),
    }  # fmt: skip


def read_clustering(store: TrajectoryStore) -> Clustering | None:
    """Return the clustering a store was opened with, or None if it has none (or only a part of one)."""
    kept, arrays = store.attributes.get("clustering"), store.attributes.get("statistics", {})
    names = ("cluster_centres", "cluster_mean", "cluster_divisor", "cluster_axes")
    if not kept or COLUMN not in store.table.extra_names or not all(name in arrays for name in names):
        return None
    centres, mean, divisor, axes = (np.asarray(arrays[name]) for name in names)
    said = {"describe": "shape", **kept["spec"]}  # files of before do not say it
    known = {key: value for key, value in said.items() if key in ClusterSpec.__dataclass_fields__}
    scores = {int(count): float(score) for count, score in kept["scores"].items()}
    labels = store.table.cluster.astype(np.int64)
    scaler = Scaler(mean, divisor, axes)
    return Clustering(labels, centres, scaler, ClusterSpec(**known), int(kept["seed"]), scores)


def _arrays(clustering: Clustering) -> dict[str, np.ndarray]:
    state = clustering.scaler.state()
    return {
        "cluster_centres": clustering.centres,
        **{f"cluster_{name}": values for name, values in state.items()},
    }
