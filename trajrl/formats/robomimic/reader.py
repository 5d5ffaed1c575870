"""robomimic HDF5 files: one group for each demonstration, observations a dictionary of arrays.

    terminal mark[t] = dones[t] and rewards[t] >= 1        success = any mark        terminated = mark[T-1]

Images, (T, height, width, channels) of bytes, are read where --obs-keys names them, and depth too.
`dones` without a reward of 1 only mark the end of a recording.  o_T is the last row of next_obs.

Paper: Mandlekar et al. 2021 (robomimic).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trajrl.formats.base.columns import ArrayColumn, Hdf5Column, narrow
from trajrl.formats.base.depth import depth_images, is_depth
from trajrl.formats.base.episode_images import plain_images, refuse_large
from trajrl.formats.base.hdf5 import child, columns_below, members, numbered, open_hdf5, text
from trajrl.formats.base.options import Options
from trajrl.formats.base.source import Labelled, Source
from trajrl.formats.base.transitions import check_numbers
from trajrl.store.episode import Episode
from trajrl.store.file.bounds import Unpacked
from trajrl.store.images import is_image

ARM = ("eef_pos", "eef_quat", "gripper_qpos")
LOW_DIM = (*(f"robot{i}_{key}" for i in (0, 1) for key in ARM), "object")  # the usual order
RAW = "this is a raw recording; extract observations first (robomimic's dataset_states_to_obs)"


class Robomimic(Source):
    """One robomimic file."""

    format = "robomimic"

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__(path, options)
        with open_hdf5(path) as file:
            group = child(file, "data")
            self.demos = numbered(group, "demo_") or numbered(group, "demo")
            if not self.demos:
                raise ValueError(f"{path}: 'data' holds no group called demo_0, demo_1 ...")
            first = child(group, self.demos[0])
            if "obs" not in first:
                raise ValueError(f"{path}: '{self.demos[0]}' has no 'obs': {RAW}")
            obs = child(first, "obs")
            keys = _keys(path, obs, options.obs_keys)
            self.cameras = tuple(key for key in keys if shows(obs, key))
            self.keys = tuple(key for key in keys if key not in self.cameras)
            self.left_out = [key for key in obs if shows(obs, key) and key not in keys]
            self.widths = {key: int(np.prod((child(obs, key).shape or ())[1:])) for key in self.keys}
            self.shapes = {key: list((child(obs, key).shape or ())[1:]) for key in self.cameras}
            self.masks = _masks(file)
            self._read_attributes(group)
        self.demos = self._filtered()
        self.count = len(self.demos)

    def read(self) -> Iterator[Labelled]:
        """Yield the demonstrations in order of their number."""
        with open_hdf5(self.path) as file:
            group = child(file, "data")
            self._note_absent(group)
            self.notes.add("images_left_out", len(self.left_out), ", ".join(self.left_out))
            unpacked = Unpacked(file)
            for demo in self.demos:
                found = child(group, demo)
                unpacked.add(column for _, column in columns_below(found))
                episode = self._episode(demo, found)
                if episode is not None:
                    yield episode, {f"mask_{name}": demo in named for name, named in self.masks.items()}

    def reading(self) -> dict[str, Any]:
        """Return options, versions and counts of this reading, and what observations are in the file."""
        shown = {"images": self.shapes} if self.shapes else {}
        return {**super().reading(), "obs_keys": self.widths, **shown}

    def _episode(self, name: str, demo: h5py.Group) -> Episode | None:
        """Return one demonstration; None where it has a single step and no observation after it."""
        arrays = {key: self._array(name, demo, key) for key in ("actions", "rewards", "dones")}
        if len(arrays["actions"]) == 0:
            self.notes.add("lost_episodes", 1, f"{name} has no steps")
            return None
        actions = arrays["actions"]
        check_numbers(self.path, f"{name}/actions", ArrayColumn(actions), "actions")
        rewards, done = arrays["rewards"].ravel(), arrays["dones"].ravel() != 0
        marks = done & (rewards >= 1 - 1e-6)
        self.notes.add("terminal_marks", int(marks.sum()), f"{name}, step {int(marks.argmax())}")
        self.notes.add("constant_dones", int((done & ~marks).sum()), name)
        obs = self._observations(name, demo, "obs", len(actions))
        images = {key: self._frames(name, demo, "obs", key, len(actions)) for key in self.cameras}
        extras = {"terminal": marks, **self._states(demo, len(actions))}
        terminated, source = bool(marks[-1]), self.label
        success: bool | None = bool(marks.any())
        if "terminated" in demo.attrs:  # written by trajrl: nothing has to be inferred
            terminated, source = bool(demo.attrs["terminated"]), text(demo.attrs["source"])
            success = bool(demo.attrs["success"]) if "success" in demo.attrs else None
            extras = self._states(demo, len(actions))
        kept = len(actions)
        if "next_obs" in demo:
            obs = np.concatenate([obs, self._observations(name, demo, "next_obs", kept)[-1:]])
            for key in self.cameras:
                last = self._frames(name, demo, "next_obs", key, kept, kept - 1)
                images[key] = np.concatenate([images[key], last])
        elif terminated:
            obs = np.concatenate([obs, obs[-1:]])
            images = {key: np.concatenate([frames, frames[-1:]]) for key, frames in images.items()}
            self.notes.add("repeated_last_obs", 1, name)
        else:
            kept -= 1
            self.notes.add("dropped_steps", 1, name)
        if not kept:
            self.notes.add("lost_episodes", 1, name)
            return None
        extras = {key: column[:kept] for key, column in extras.items()}
        return Episode(obs, actions[:kept], rewards[:kept], terminated, success, source, extras, images)

    def _array(self, name: str, demo: h5py.Group, key: str) -> np.ndarray:
        """Return one column of a demonstration, (T, ...)."""
        if key not in demo:
            raise ValueError(
                f"{self.path}: '{name}' has no '{key}'" + ("" if key == "actions" else f": {RAW}")
            )
        item = child(demo, key)
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub" or item.shape is None:
            raise ValueError(f"{self.path}: '{name}/{key}' does not hold numbers")
        found = item[()]
        length = len(child(demo, "actions"))
        if not found.ndim or len(found) != length:
            rows = len(found) if found.ndim else 0
            raise ValueError(
                f"{self.path}: '{name}/{key}' has {rows} rows and its actions {length}; they must be equal"
            )
        self.notes.add(
            "cast_columns",
            int(key != "dones" and found.dtype != np.float32),
            f"{name}/{key} is {found.dtype}",
        )
        return np.asarray(found)

    def _observations(self, name: str, demo: h5py.Group, key: str, length: int) -> np.ndarray:
        """Return the chosen observations side by side, (T, obs)."""
        group = child(demo, key)
        parts = [np.empty((length, 0), np.float32)]
        for part in self.keys:
            if part not in group:
                raise ValueError(f"{self.path}: '{name}/{key}' has no '{part}'; it has {', '.join(group)}")
            found = child(group, part)[()]
            if len(found) != length:
                raise ValueError(
                    f"{self.path}: '{name}/{key}/{part}' has {len(found)} rows and its actions {length}"
                )
            check_numbers(self.path, f"{name}/{key}/{part}", ArrayColumn(found), "observations")
            parts.append(narrow(found.reshape(length, -1)))
        return np.concatenate(parts, axis=1)

    def _frames(
        self, name: str, demo: h5py.Group, key: str, camera: str, length: int, first: int = 0
    ) -> np.ndarray:
        """Return a camera's frames from row `first` on, (T, height, width, channels); depth becomes bytes."""
        found = child(child(demo, key), camera)
        if found.shape is None or len(found) != length:
            rows = "no" if found.shape is None else len(found)
            raise ValueError(f"{self.path}: '{name}/{key}/{camera}' has {rows} rows and its actions {length}")
        column, place = Hdf5Column(found), f"{self.path}: '{name}/{key}/{camera}'"
        if is_depth(column.shape, column.dtype):
            refuse_large(place, length - first, column.shape[1] * column.shape[2] * column.dtype.itemsize)
            depth = column.read(first, length)
            return depth_images(depth, self.options.depth_range, self.options.size, self.notes, place)
        check_numbers(self.path, f"{name}/{key}/{camera}", column, "observations")
        return plain_images(column, first, length, self.options.size, place)

    def _states(self, demo: h5py.Group, length: int) -> dict[str, np.ndarray]:
        """Return the further columns of a demonstration that have one row for each action."""
        found = {}
        for name, item in columns_below(demo):
            if name.startswith(("obs/", "next_obs/")) or name in ("actions", "rewards", "dones"):
                continue
            fits = item.dtype.kind in "fiub" and item.shape[:1] == (length,)
            leaf = name.removeprefix("extras/")
            if fits and (leaf != "terminal" or item.dtype == bool):
                found[leaf] = item[()]
            else:
                self.notes.add("skipped_members", 1, f"{demo.name.lstrip('/')}/{name}")
        return found

    def _read_attributes(self, group: h5py.Group) -> None:
        """Take the environment from `env_args`, where the file has it."""
        self.missing = [name for name in ("env_args", "total") if name not in group.attrs]
        first = child(group, self.demos[0])
        actions = child(first, "actions") if "actions" in first else None
        if actions is not None and actions.ndim == 2:
            ones = np.ones(actions.shape[1])  # robomimic admits no other box
            self.set_box(-ones, ones, "the robomimic format", custom=True)
        if "env_args" in group.attrs:
            try:
                arguments = json.loads(text(group.attrs["env_args"]))
            except json.JSONDecodeError as error:
                raise ValueError(f"{self.path}: the attribute 'env_args' is not JSON ({error})") from error
            self.versions = {"env_args": arguments}
            if not self.environment and arguments.get("env_name"):
                self.environment = f"robomimic:{arguments['env_name']}"
        if "trajrl" in group.attrs:
            self.restore(text(group.attrs["trajrl"]))

    def _filtered(self) -> list[str]:
        """Return the demonstrations that the chosen mask names."""
        if not self.options.filter:
            return self.demos
        if self.options.filter not in self.masks:
            have = ", ".join(self.masks) or "none"
            raise ValueError(f"{self.path} has no mask '{self.options.filter}'; it has {have}")
        kept = [demo for demo in self.demos if demo in self.masks[self.options.filter]]
        if not kept:
            raise ValueError(
                f"{self.path}: mask '{self.options.filter}' names no demonstration that the file holds"
            )
        return kept

    def _note_absent(self, group: h5py.Group) -> None:
        """Report demonstrations that masks name and the file lacks, and attributes that are missing."""
        for name, named in self.masks.items():
            absent = sorted(named - set(group))
            self.notes.add("absent_demos", len(absent), f"mask '{name}', {absent[0]}" if absent else "")
        for attribute in self.missing:
            self.notes.add("missing_attributes", 1, f"data: '{attribute}'")
        bare = [demo for demo in self.demos if "num_samples" not in child(group, demo).attrs]
        self.notes.add("missing_attributes", len(bare), f"{bare[0]}: 'num_samples'" if bare else "")


def shows(group: h5py.Group, key: str) -> bool:
    """Say whether a key of the observations holds images, or depth."""
    found = child(group, key)
    if not isinstance(found, h5py.Dataset):
        return False
    shape = found.shape or ()
    return is_image(shape, found.dtype) or is_depth(shape, found.dtype)


def _keys(path: Path, group: h5py.Group, chosen: tuple[str, ...]) -> tuple[str, ...]:
    """Return which observations to read, in which order."""
    if not chosen:
        chosen = tuple(key for key in (*LOW_DIM, "flat") if key in group)
    absent = [key for key in chosen if key not in group]
    if absent or not chosen:
        missing = (
            f"has no observation '{absent[0]}'"
            if absent
            else "has none of the usual low-dimensional observations"
        )
        raise ValueError(f"{path} {missing}; choose --obs-keys from {', '.join(group)}")
    return chosen


def _masks(file: h5py.File) -> dict[str, set[str]]:
    """Return the demonstrations that every filter key names."""
    if "mask" not in file:
        return {}
    group = child(file, "mask")
    Unpacked(file).add(column for _, column in columns_below(group))
    found = members(group)
    return {
        name: {text(demo) for demo in item[()].ravel()}
        for name, item in found
        if isinstance(item, h5py.Dataset)
    }
