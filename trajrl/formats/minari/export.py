"""A store as a Minari data set: a folder with data/main_data.hdf5 and data/metadata.json.

terminations[T-1] = terminated, truncations[T-1] = not terminated, infos/<extra>
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trajrl.core.atomic_files import new_folder, said
from trajrl.formats.base.episode_table import attributes_of
from trajrl.formats.base.exporter import Span, action_box, last_step, observations, size_on_disk, spans, steps
from trajrl.formats.base.hdf5 import hdf5_file
from trajrl.store.store import TrajectoryStore

MINARI_VERSION = "0.5.3"  # whose layout this is


def write_minari(store: TrajectoryStore, path: Path) -> None:
    """Write the folder; it appears whole or not at all."""
    if not re.fullmatch(r"[\w-]+-v\d+", path.name):
        raise ValueError(f"a Minari data set is called NAME-vN, as in medium-v0; got '{path.name}'")
    with new_folder(path) as folder, said(path):
        (folder / "data").mkdir()
        main = folder / "data" / "main_data.hdf5"
        with hdf5_file(main, size_on_disk(store)) as file:
            for number, span in enumerate(spans(store)):
                _episode(file.create_group(f"episode_{number}"), store, span, number)
        metadata = _metadata(store, path, main.stat().st_size)
        (folder / "data" / "metadata.json").write_text(json.dumps(metadata))


def _episode(group: h5py.Group, store: TrajectoryStore, span: Span, number: int) -> None:
    """Write one episode."""
    ends = last_step(span)
    group.attrs["id"] = number
    group.attrs["total_steps"] = span.length
    group.attrs["source"] = store.table.source_of(span.episode)
    if store.table.success[span.episode] >= 0:
        group.attrs["success"] = bool(store.table.success[span.episode])
    group.create_dataset("observations", data=observations(store, span))
    group.create_dataset("actions", data=steps(store.actions, span))
    group.create_dataset("rewards", data=steps(store.rewards, span))
    group.create_dataset("terminations", data=ends & span.terminated)
    group.create_dataset("truncations", data=ends & (not span.terminated))
    group.create_group("infos")
    for name, column in store.extras.items():
        group.create_dataset(f"infos/{name}", data=steps(column, span))


def _metadata(store: TrajectoryStore, path: Path, size: int) -> dict[str, Any]:
    """Return what the set says about itself."""
    low, high = action_box(store) or (np.full(store.action_dim, -np.inf), np.full(store.action_dim, np.inf))
    unbounded = np.full(store.obs_dim, np.inf)
    found = {
        "total_episodes": len(store.live), "total_steps": store.num_steps, "data_format": "hdf5",
        "observation_space": _box(-unbounded, unbounded), "action_space": _box(low, high),
        "dataset_id": _dataset_id(path), "dataset_size": round(size / 1e6, 1),
        "minari_version": MINARI_VERSION, "trajrl": attributes_of(store),
        "author": [], "algorithm_name": "", "description": "Exported by trajrl.",
    }  # fmt: skip
    spec = _spec(str(store.attributes.get("environment") or ""))
    return found | ({"env_spec": spec} if spec else {})


def _box(low: np.ndarray, high: np.ndarray) -> str:
    """Return a space as Minari writes it."""
    return json.dumps(
        {
            "type": "Box",
            "dtype": "float32",
            "shape": list(low.shape),
            "low": low.tolist(),
            "high": high.tolist(),
        }
    )


def _dataset_id(path: Path) -> str:
    """Return the id: the path below Minari's root, else the folder's name."""
    root = Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets").absolute()
    place = path.absolute()
    return str(place.relative_to(root)) if place.is_relative_to(root) else path.name


def _spec(environment: str) -> str | None:
    """Return the specification of a registered environment; None where gymnasium knows none of that name."""
    import gymnasium

    try:
        return gymnasium.spec(environment).to_json() if environment else None
    except gymnasium.error.Error:
        return None
