"""Replay buffers of diffusion_policy: a zarr store of version 2, a folder or a zip of one.

    data/action, data/state (or obs, or what --obs-keys names), data/reward      one row for each step
    meta/episode_ends (E,)                                                       behind its last row

T rows hold T observations, and nothing says whether the MDP ended: every end gives up its last action.
Images, (N, h, w, c), are read where --obs-keys names them; further columns are kept.

Paper: Chi et al. 2023 (Diffusion Policy).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.formats.base.columns import ArrayColumn, Column, narrow
from trajrl.formats.base.episode_images import plain_images
from trajrl.formats.base.options import Options
from trajrl.formats.base.source import Labelled, Source
from trajrl.formats.base.transitions import Transitions, check_numbers, flat_episodes
from trajrl.formats.zarr.array import Files, ZarrColumn, open_files

ACTIONS, REWARDS, USUAL = ("action", "actions"), ("reward", "rewards"), ("state", "obs")
ENDS = "meta/episode_ends"
DATA = "data/"


class Zarr(Source):
    """One replay buffer."""

    format = "zarr"

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__(path, options)
        self.widths: dict[str, int] = {}
        with open_files(path) as files:
            self.columns = _columns(files)
            self.shown = self._pictured()
            self.obs = self._observations()
            self.count = len(_ends(files, self._steps()))

    def reading(self) -> dict[str, Any]:
        """Return options, versions and counts of this reading, with order and widths of the observations."""
        return {**super().reading(), "obs_keys": self.widths}

    def read(self) -> Iterator[Labelled]:
        """Yield the episodes in order."""
        with open_files(self.path) as files:
            columns, steps = _columns(files), self._steps()
            stops = _ends(files, steps)
            cuts = np.zeros(steps, bool)
            cuts[stops - 1] = True
            action, reward = self._role(ACTIONS), self._role(REWARDS, needed=False)
            vectors = [columns[name] for name in self.obs]
            roles: dict[str, Column] = {
                "obs": SideBySide(vectors) if vectors else ArrayColumn(np.empty((steps, 0), np.float32)),
                "actions": columns[action],
                "rewards": columns[reward] if reward else ArrayColumn(np.zeros(steps, np.float32)),
                "timeouts": ArrayColumn(cuts),
            }  # fmt: skip
            names = {"obs": ", ".join(self.obs), "actions": action, "rewards": reward, "timeouts": ENDS}
            taken = {*self.obs, *self.shown, action, reward}
            extras = {
                name: columns[name] for name in columns if name not in taken and self._fits(columns[name])
            }
            for name in sorted(set(columns) - taken - set(extras)):
                self.notes.add(
                    "left_frames" if columns[name].shape[0] == steps else "skipped_members", 1, name
                )
            if "terminal" in extras and extras["terminal"].dtype != bool:
                extras["terminal_flag"] = extras.pop("terminal")
            flat = Transitions(self.path, roles, extras, names)
            flat.note_casts(self.notes)
            self.notes.add("no_rewards", 0 if reward else steps, "row 0")
            self.notes.add("ends_of_unknown_kind", len(stops), f"row {int(stops[0]) - 1}")
            for name in self.shown:
                kind = columns[name].dtype
                self.notes.add("cast_columns", int(kind != np.uint8), f"'{name}' is {kind}")
            episodes = flat_episodes(flat, self.options, self.notes, self.label)
            for episode, (start, stop) in zip(episodes, _kept(stops, steps), strict=True):
                images = {name: self._images(columns[name], start, stop) for name in self.shown}
                yield replace(episode, images=images), {}
            for name in (*taken - {""}, *extras):
                absent = columns[name].absent if name in columns else 0
                self.notes.add("absent_chunks", absent, f"array '{name}'")

    def _images(self, column: ZarrColumn, start: int, stop: int) -> np.ndarray:
        """Return the images of an episode's rows [start, stop)."""
        return plain_images(column, start, stop, self.options.size, f"{column.what}, rows {start} to {stop},")

    def _steps(self) -> int:
        return self.columns[self._role(ACTIONS)].shape[0]

    def _fits(self, column: ZarrColumn) -> bool:
        """Say whether a column has a row of numbers for each step, and is no image."""
        return column.shape[0] == self._steps() and len(column.shape) < 4 and 0 not in column.shape

    def _role(self, names: tuple[str, ...], needed: bool = True) -> str:
        """Return the first of the names that the store has."""
        found = next((name for name in names if name in self.columns), "")
        if needed and not found:
            have = ", ".join(self.columns) or "nothing"
            raise ValueError(f"{self.path} has no '{names[0]}' below data/; it has {have}")
        return found

    def _pictured(self) -> tuple[str, ...]:
        """Return which columns that were asked for are images."""
        shapes = {name: self.columns[name].shape for name in self.options.obs_keys if name in self.columns}
        found = [name for name, shape in shapes.items() if len(shape) == 4 and shape[0] == self._steps()]
        for name in found:
            sample = ArrayColumn(np.empty((0, *shapes[name][1:]), np.uint8))
            check_numbers(self.path, name, sample, "observations")
            if 0 in shapes[name]:
                raise ValueError(f"{self.path}: '{name}' of shape {shapes[name]} holds no pixels")
        return tuple(found)

    def _observations(self) -> tuple[str, ...]:
        """Return which columns are vectors of the observations, in which order."""
        free = [n for n in self.columns if n not in (*ACTIONS, *REWARDS) and self._fits(self.columns[n])]
        asked = self.options.obs_keys or tuple(name for name in USUAL if name in self.columns)[:1]
        asked = tuple(name for name in asked if name not in self.shown)
        absent, have = [name for name in asked if name not in free], ", ".join(free) or "nothing"
        if absent and absent[0] in self.columns:
            shape, steps = self.columns[absent[0]].shape, self._steps()
            if shape[0] != steps:
                both = f"'{absent[0]}' has {shape[0]} rows and its actions {steps}"
                raise ValueError(f"{self.path}: {both}; they must be equal")
            raise ValueError(
                f"{self.path}: '{absent[0]}' of shape {shape} holds no vectors and no images (rows, height, "
                f"width, channels); choose --obs-keys from {have}"
            )
        if absent or not (asked or self.shown):
            wrong = f"observation '{absent[0]}'" if absent else "data/state"
            raise ValueError(f"{self.path} has no {wrong}; choose --obs-keys from {have}")
        self.widths = {name: int(np.prod(self.columns[name].shape[1:])) for name in asked}
        return tuple(asked)


class SideBySide:
    """Columns next to one another, each flattened to vectors."""

    def __init__(self, parts: list[ZarrColumn]) -> None:
        self._parts = parts
        width = sum(int(np.prod(part.shape[1:])) for part in parts)
        self.shape: tuple[int, ...] = (parts[0].shape[0], width)
        self.dtype = np.result_type(*(part.dtype for part in parts))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows [start, stop)."""
        parts = [narrow(part.read(start, stop).reshape(stop - start, -1)) for part in self._parts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _kept(stops: np.ndarray, steps: int) -> Iterator[tuple[int, int]]:
    """Yield the rows of each episode that has an action left when its end gives up one."""
    edges = [0, *stops.tolist(), *([steps] if stops[-1] < steps else [])]
    return ((start, stop) for start, stop in pairwise(edges) if stop - start > 1)


def _columns(files: Files) -> dict[str, ZarrColumn]:
    """Return the arrays below data/."""
    if "zarr.json" in files.names:
        raise ValueError(f"{files.path} is zarr of version 3; save it with zarr_format=2")
    found = sorted(name for name in files.names if name.startswith(DATA) and name.endswith("/.zarray"))
    places = [name.removesuffix("/.zarray") for name in found]
    if not places:
        raise ValueError(f"{files.path} has no arrays below data/, such as data/action and data/state")
    return {place.removeprefix(DATA): ZarrColumn(files, place) for place in places}


def _ends(files: Files, steps: int) -> np.ndarray:
    """Return where episodes end (E,): behind their last row."""
    column = ZarrColumn(files, ENDS)
    if len(column.shape) != 1 or column.dtype.kind not in "iu":
        raise ValueError(f"{column.what} has shape {column.shape} of {column.dtype}; whole numbers are due")
    stops = column.read(0, column.shape[0]).astype(np.int64)
    if not len(stops) or stops[0] < 1 or (np.diff(stops) < 1).any() or stops[-1] > steps:
        said = f"holds {stops[:1].tolist()} to {stops[-1:].tolist()} for {steps} actions"
        raise ValueError(f"{column.what} {said}; rising numbers up to that are due")
    return stops
