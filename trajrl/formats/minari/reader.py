"""Minari data sets, straight from their HDF5 files; folders of arrow or parquet through the minari package.

    <root>/<namespace/...>/<name>-v<N>/data/{metadata.json, main_data.hdf5}, episode_<i> with T+1 observations

terminated = terminations[T-1].  Older sets keep metadata as attributes of the HDF5 file: both are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trajrl.core.extras import install
from trajrl.formats.base.columns import ArrayColumn, narrow
from trajrl.formats.base.episode_images import encoded_images
from trajrl.formats.base.hdf5 import child, columns_below, members, numbered, open_hdf5, text
from trajrl.formats.base.options import Options
from trajrl.formats.base.resize import all_resized
from trajrl.formats.base.source import Labelled, Source, inside
from trajrl.formats.base.transitions import check_numbers
from trajrl.formats.minari.encoded import holds_jpeg, is_of_any_length, rows_of
from trajrl.store.episode import Episode
from trajrl.store.file.bounds import Unpacked
from trajrl.store.images import PIXELS, is_image, parted

Tree = dict[str, Any]  # array at every leaf
GOAL_ORDER = ("observation", "achieved_goal", "desired_goal")  # as trajrl.envs sees goal environments
GOAL = set(GOAL_ORDER)
STORAGES = ("hdf5", "arrow", "parquet")  # of Minari; the package itself reads all but the first


class Minari(Source):
    """One Minari data set: its folder, its data folder or its main_data.hdf5."""

    format = "minari"

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__(path, options)
        folder = path if path.is_dir() else path.parent
        self.folder = folder / "data" if (folder / "data").is_dir() else folder
        self.file = path if path.is_file() else self.folder / "main_data.hdf5"
        for name in ("metadata.json", "main_data.hdf5") if path.is_dir() else ():
            inside(path, self.folder / name)
        self.metadata = self._metadata()
        kind = self.metadata.get("data_format", "hdf5")
        if kind not in STORAGES:
            raise ValueError(f"{path}: its metadata says data_format {kind!r}; one of {', '.join(STORAGES)}")
        self.packaged = kind != "hdf5"
        self._read_metadata()
        self.episode_names = [] if self.packaged else self._names()
        self.count = int(self.metadata.get("total_episodes", 0)) if self.packaged else len(self.episode_names)

    @property
    def label(self) -> str:
        """Return the data set's id, or the name of its folder."""
        named = str(self.metadata.get("dataset_id") or self.folder.parent.name or self.path.stem)
        return self.options.source or named

    def read(self) -> Iterator[Labelled]:
        """Yield the episodes in order of their number."""
        promised = self.metadata.get("total_episodes")
        if isinstance(promised, int) and self.count is not None:
            self.notes.add(
                "absent_episodes", max(0, promised - self.count), f"{self.count} of {promised} are there"
            )
        trees = self._packaged_trees() if self.packaged else self._trees()
        for name, tree in trees:
            yield self._episode(name, tree), {}

    def _trees(self) -> Iterator[tuple[str, Tree]]:
        """Yield every episode group as nested arrays."""
        with open_hdf5(self.file) as file:
            unpacked = Unpacked(file)
            for name in self.episode_names:
                group = child(file, name)
                unpacked.add(column for _, column in columns_below(group))
                tree = _tree(group)
                tree["attributes"] = {
                    key: group.attrs[key] for key in ("success", "source") if key in group.attrs
                }
                yield name, tree

    def _packaged_trees(self) -> Iterator[tuple[str, Tree]]:
        """Yield the episodes that the minari package reads, for formats that only it reads."""
        try:
            from minari.dataset.minari_storage import MinariStorage
        except ImportError as error:
            kind = self.metadata["data_format"]
            raise ImportError(
                f"{self.path} is stored as {kind}; {install('minari')} brings what reads it"
            ) from error
        storage = MinariStorage.read(self.folder)
        for index in range(storage.total_episodes):
            found = next(iter(storage.get_episodes([index])))
            yield f"episode {index}", {**found, "attributes": {}}

    def _episode(self, name: str, tree: Tree) -> Episode:
        """Check one episode and return it."""
        for key in ("observations", "actions", "rewards", "terminations", "truncations"):
            if key not in tree:
                raise ValueError(f"{self.path}: '{name}' has no '{key}'; it has {', '.join(tree)}")
        actions = self._matrix(tree["actions"], f"{name}/actions", "actions")
        seen, images = self._parted(tree["observations"], name)
        obs = self._matrix(seen, f"{name}/observations", "observations")
        length = len(actions)
        rewards = self._row(tree["rewards"], f"{name}/rewards", length)
        ended = self._row(tree["terminations"], f"{name}/terminations", length) != 0
        cut = self._row(tree["truncations"], f"{name}/truncations", length) != 0
        if len(obs) != length + 1:
            raise ValueError(
                f"{self.path}: '{name}' has {len(obs)} observations, {length} actions; {length + 1} are due: "
                "the set was written by a version that lost one"
            )
        early = (ended | cut)[:-1]
        self.notes.add(
            "flags_before_the_end",
            int(early.sum()),
            f"{name}, step {int(early.argmax())}" if early.any() else "",
        )
        self.notes.add("terminal_and_timeout", int(ended[-1] and cut[-1]), name)
        self.notes.add("unfinished_tails", int(not (ended[-1] or cut[-1])), name)
        kept = tree["attributes"]
        success = None if "success" not in kept else bool(kept["success"])
        source = text(kept["source"]) if "source" in kept else self.label
        return Episode(
            obs, actions, rewards, bool(ended[-1]), success, source, self._extras(tree, name, length),
            images,
        )  # fmt: skip

    def _parted(self, found: Any, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return observations as vectors and the images among them; of a dictionary those that keys name."""
        if not isinstance(found, dict):
            if holds_jpeg(found):
                return np.empty((len(found), 0), np.float32), {PIXELS: self._images(found, name)}
            obs, alone = parted(np.asarray(found))
            return obs, {key: self._images(frames, name) for key, frames in alone.items()}
        shown = {key: np.asarray(part) for key, part in found.items() if not isinstance(part, dict)}
        images = {key: p for key, p in shown.items() if is_image(p.shape, p.dtype) or holds_jpeg(p)}
        asked = self.options.obs_keys
        kept = {key: self._images(part, f"{name}, {key}") for key, part in images.items() if key in asked}
        for key, frames in kept.items():
            check_numbers(self.path, f"{name}/observations/{key}", ArrayColumn(frames), "observations")
        if kept and len(kept) == len(asked):
            return np.empty((len(next(iter(kept.values()))), 0), np.float32), kept
        left = [key for key in images if key not in kept]
        self.notes.add("images_left_out", len(left) if asked else 0, ", ".join(left))
        vectors = {key: part for key, part in found.items() if key not in kept}
        return self._side_by_side(vectors, name, tuple(key for key in asked if key not in kept)), kept

    def _images(self, part: np.ndarray, name: str) -> np.ndarray:
        """Return images (T+1, h, w, c), decoded where they are JPEG."""
        if holds_jpeg(part):
            rows = [row.tobytes() for row in part]
            return encoded_images(rows, self.options.size, f"{self.path}: '{name}'")
        return all_resized(part, self.options.size)

    def _side_by_side(self, observations: Tree, name: str, asked: tuple[str, ...]) -> np.ndarray:
        """Return a dictionary of observations as one array, in the order of its keys that was asked for."""
        have = ", ".join(observations)
        keys = asked or (goal_keys(observations) if set(observations) == GOAL else ())
        if not keys:
            raise ValueError(
                f"{self.path}: observations are a dictionary of {have}; choose an order with --obs-keys"
            )
        absent = [key for key in keys if key not in observations]
        if absent:
            raise ValueError(f"{self.path}: '{name}' has no observation '{absent[0]}'; it has {have}")
        parts = [
            self._matrix(observations[key], f"{name}/observations/{key}", "observations") for key in keys
        ]
        return np.concatenate(parts, axis=1)

    def _matrix(self, found: Any, name: str, what: str) -> np.ndarray:
        """Return vectors as (n, width) float32; pixels, choices and nested spaces are refused."""
        if isinstance(found, dict | tuple | list):
            raise ValueError(f"{self.path}: '{name}' is a nested space; trajrl reads vectors")
        array = np.asarray(found)
        if array.dtype.kind not in "fiub" or not array.ndim or not len(array):
            raise ValueError(
                f"{self.path}: '{name}' holds {array.dtype} of shape {array.shape}, not vectors of numbers"
            )
        if what == "actions" or array[:1].size:
            check_numbers(self.path, name, ArrayColumn(array), what)
        self.notes.add("cast_columns", int(array.dtype != np.float32), f"{name} is {array.dtype}")
        return narrow(array.reshape(len(array), -1))

    def _row(self, found: Any, name: str, length: int) -> np.ndarray:
        """Return one number for each step, (T,)."""
        array = np.asarray(found)
        if array.shape not in ((length,), (length, 1)):
            raise ValueError(
                f"{self.path}: '{name}' has shape {array.shape} for {length} actions; ({length},) is due"
            )
        self.notes.add("reshaped_columns", int(array.ndim == 2), f"{name} is {array.shape}")
        return array.reshape(length)

    def _extras(self, tree: Tree, name: str, length: int) -> dict[str, np.ndarray]:
        """Return the infos with a row for each step; those of T+1 rows begin with the one of the reset."""
        found = {}
        for key, column in sorted(_leaves(tree.get("infos") or {})):
            array = np.asarray(column)
            fits = array.dtype.kind in "fiub" and array.ndim and len(array) in (length, length + 1)
            if not fits or (key == "terminal" and array.dtype != bool):
                self.notes.add("skipped_members", 1, f"{name}/infos/{key}")
                continue
            found[key] = array[-length:]
        return found

    def _names(self) -> list[str]:
        with open_hdf5(self.file) as file:
            names = numbered(file, "episode_")
        if not names:
            raise ValueError(f"{self.file} holds no group called episode_0, episode_1 ...")
        return names

    def _metadata(self) -> dict[str, Any]:
        """Return what the set says about itself, from metadata.json and the attributes of the file."""
        found: dict[str, Any] = {}
        if self.file.is_file():
            with open_hdf5(self.file) as file:
                found = {name: _plain(value) for name, value in file.attrs.items()}
        place = self.folder / "metadata.json"
        if place.is_file():
            try:
                found.update(json.loads(place.read_text()))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ValueError(f"{place} is not JSON ({error}); download or copy it again") from error
        elif not self.file.is_file():
            raise FileNotFoundError(f"{self.folder} has neither metadata.json nor main_data.hdf5")
        return found

    def _read_metadata(self) -> None:
        """Take environment, action box and version from what the set says."""
        spec, space = as_tree(self.metadata.get("env_spec")), as_tree(self.metadata.get("action_space"))
        if not self.environment and spec.get("id"):
            self.environment = str(spec["id"])
        if space.get("type") == "Box" and "low" in space and len(space.get("shape", ())) == 1:
            low, high = (
                np.broadcast_to(np.asarray(space[end], np.float32), space["shape"]) for end in ("low", "high")
            )
            self.set_box(low, high, "the file")
        if "trajrl" in self.metadata:
            self.restore(str(self.metadata["trajrl"]))
        kept = ("minari_version", "dataset_id", "author", "algorithm_name", "ref_min_score", "ref_max_score")
        self.versions = {name: self.metadata[name] for name in kept if name in self.metadata}


def goal_keys(observations: Tree) -> tuple[str, ...]:
    """Return the order in which a goal environment is seen: all its parts, without goals that are nested."""
    nested = any(isinstance(part, dict) for part in observations.values())
    return GOAL_ORDER[:1] if nested else GOAL_ORDER


def _tree(group: h5py.Group) -> Tree:
    """Read a group with everything below it."""
    return {
        name: _tree(item) if isinstance(item, h5py.Group) else _leaf(item) for name, item in members(group)
    }


def _leaf(item: h5py.Dataset) -> Any:
    return rows_of(item) if is_of_any_length(item) else item[()]


def _leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in tree.items():
        if isinstance(item, dict):
            yield from _leaves(item, f"{prefix}{name}/")
        else:
            yield prefix + name, item


def as_tree(value: Any) -> dict[str, Any]:
    """Return a dictionary that may be stored as text; empty where it is neither."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return {}
    return value if isinstance(value, dict) else {}


def _plain(value: Any) -> Any:
    """Return an HDF5 attribute as plain Python."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
