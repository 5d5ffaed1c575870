"""A store as a robomimic file: one group for each episode, observations under their keys or as `flat`.

dones[t] = terminal mark or terminated end.  Attributes of the group keep terminated, success and source.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trajrl.core.atomic_files import new_file
from trajrl.formats.base.episode_table import attributes_of
from trajrl.formats.base.exporter import Span, images, observations, size_on_disk, solved, spans, steps
from trajrl.formats.base.hdf5 import hdf5_file
from trajrl.store.store import TrajectoryStore

RESERVED = ("actions", "rewards", "dones", "obs", "next_obs", "extras")


def write_robomimic(store: TrajectoryStore, path: Path) -> None:
    """Write the file, one episode at a time."""
    keys = _keys(store)
    with new_file(path) as place, hdf5_file(place, size_on_disk(store)) as file:
        group = file.create_group("data")
        group.attrs["total"] = store.num_steps
        group.attrs["trajrl"] = attributes_of(store)
        group.attrs["env_args"] = json.dumps(_environment(store))
        for number, span in enumerate(spans(store)):
            _demo(group.create_group(f"demo_{number}"), store, span, keys)
        for name in store.table.extra_names:
            if name.startswith("mask_"):
                named = np.flatnonzero(getattr(store.table, name)[store.live])
                demos = np.array([f"demo_{number}".encode() for number in named] or [], "S")
                file.create_dataset(f"mask/{name.removeprefix('mask_')}", data=demos)


def _demo(demo: h5py.Group, store: TrajectoryStore, span: Span, keys: list[tuple[str, int, int]]) -> None:
    """Write one episode."""
    obs, success = observations(store, span), int(store.table.success[span.episode])
    demo.attrs["num_samples"] = span.length
    demo.attrs["terminated"] = span.terminated
    demo.attrs["source"] = store.table.source_of(span.episode)
    if success >= 0:
        demo.attrs["success"] = bool(success)
    demo.create_dataset("actions", data=steps(store.actions, span))
    demo.create_dataset("rewards", data=steps(store.rewards, span))
    demo.create_dataset("dones", data=solved(store, span).astype(np.int64))
    for key, first, last in keys:
        demo.create_dataset(f"obs/{key}", data=obs[:-1, first:last])
        demo.create_dataset(f"next_obs/{key}", data=obs[1:, first:last])
    for key, column in store.images.items():
        frames = images(column, span)
        demo.create_dataset(f"obs/{key}", data=frames[:-1])
        demo.create_dataset(f"next_obs/{key}", data=frames[1:])
    for name, column in store.extras.items():
        plain = "/" not in name and name not in RESERVED
        demo.create_dataset(name if plain else f"extras/{name}", data=steps(column, span))


def _keys(store: TrajectoryStore) -> list[tuple[str, int, int]]:
    """Return name, first and last column of every observation, as the data came; else all of it as `flat`."""
    widths = _provenance(store).get("obs_keys")
    if not store.obs_dim:
        return []
    if not isinstance(widths, dict) or sum(widths.values()) != store.obs_dim:
        return [("flat", 0, store.obs_dim)]
    edges = np.cumsum([0, *widths.values()]).tolist()
    return list(zip(widths, edges[:-1], edges[1:]))


def _environment(store: TrajectoryStore) -> dict[str, Any]:
    """Return what robomimic wants to know of the environment: as it was read, or as far as it is known."""
    versions = _provenance(store).get("versions", {})
    if "env_args" in versions:
        return dict(versions["env_args"])
    name = str(store.attributes.get("environment") or "").rpartition(":")[2]
    return {"env_name": name, "env_type": 1, "env_kwargs": {}}


def _provenance(store: TrajectoryStore) -> dict[str, Any]:
    found = store.attributes.get("provenance")
    return found if isinstance(found, dict) else {}
