"""A folder of npz files, one episode in each, as a robot's recorder leaves them; names give the order.

    observations (T+1 or T), actions (T), rewards (T)     terminals (T), or terminated: one flag for the end
    success, one flag, is kept; without rewards they are 0; all other rows of T are kept as they are
    --obs-keys names vectors and images in place of observations

With T observations an end that is not a termination gives up its last action, and that is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from trajrl.formats.base.field_names import role_of
from trajrl.formats.base.options import Options
from trajrl.formats.base.source import Labelled, Source, inside
from trajrl.formats.base.transitions import Transitions
from trajrl.formats.npz.npy import open_npz
from trajrl.formats.npz.seen import frames, seen
from trajrl.formats.pickle.reader import Pickle

OUTCOMES = ("success", "is_success")


class NpzFolder(Pickle):
    """The files of a folder, each a trajectory; one is in memory at a time, except for its flags."""

    format = "npz-folder"

    def __init__(self, path: Path, options: Options) -> None:
        Source.__init__(self, path, options)
        self.files = [inside(path, file) for file in sorted(path.glob("*.npz"), key=natural)]
        if not self.files:
            raise ValueError(f"{path} holds no npz files")
        self.flat, self.count = False, len(self.files)
        self.trajectories: Sequence[Mapping[Any, Any]] = Files(self.files)  # type: ignore[assignment]

    def read(self) -> Iterator[Labelled]:
        """Yield the episodes in order of their names."""
        marked = any(map(ends_early, self.trajectories))
        for number, recorded in enumerate(self.trajectories):
            place = self.files[number]
            found, images = seen(recorded, self.options.obs_keys, place)
            outcome = next(
                (bool(found[name]) for name in OUTCOMES if np.ndim(found.get(name, [])) == 0), None
            )
            columns = self._columns(number, found)
            self._early(columns, number)
            for episode in self._whole(columns, marked):
                shown = frames(images, len(episode), self.options, place, self.notes) or episode.images
                yield replace(episode, success=outcome, images=shown), {}

    def _place(self, number: int) -> str:
        return str(self.files[number])

    def _columns(self, number: int, trajectory: Mapping[Any, Any]) -> Transitions:
        """Give the arrays of one file trajrl's names; single flags become those of the last step."""
        place, roles = self.files[number], {role_of(name): name for name in trajectory}
        if "actions" not in roles:
            raise ValueError(f"{place} has no 'actions'; it has {', '.join(trajectory) or 'nothing'}")
        length = len(np.atleast_1d(trajectory[roles["actions"]]))
        arrays = {name: value for name, value in trajectory.items() if name not in OUTCOMES or np.ndim(value)}
        for role in ("terminals", "timeouts"):
            name = roles.get(role)
            if name and np.ndim(arrays[name]) == 0:
                arrays[name] = (np.arange(length) == length - 1) & bool(arrays[name])
        if "rewards" not in roles:
            arrays["rewards"] = np.zeros(length, np.float32)
            self.notes.add("no_rewards", length, place.name)
        return super()._columns(number, arrays)


class Files(Sequence[Mapping[str, np.ndarray]]):
    """The arrays of each file, read when asked for."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, np.ndarray]]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return read_file(self.files[index])


def read_file(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of one file; a column that holds objects is refused, as it would count as absent."""
    with open_npz(path) as (columns, skipped):
        lost = [name for name in skipped if role_of(name) or name in OUTCOMES]
        if lost:
            raise ValueError(f"{path}: '{lost[0]}' holds pickled objects, which are never loaded")
        return {name: column.whole() for name, column in columns.items()}


def ends_early(arrays: Mapping[str, np.ndarray]) -> bool:
    """Say whether a terminal stands before the last step."""
    found = [value for name, value in arrays.items() if role_of(name) == "terminals" and np.ndim(value)]
    return any(bool(value[:-1].any()) for value in found if value.dtype.kind in "fiub")


def natural(path: Path) -> list[tuple[int, str]]:
    """Return what sorts episode_2 before episode_10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path.stem)]


def one_episode_each(files: list[Path]) -> bool:
    """Say whether the first file is a recording, and not a shard of many trajectories."""
    with open_npz(min(files, key=natural)) as (columns, _):
        roles = {role_of(name): columns[name] for name in columns}
        if "actions" not in roles or not {"obs", "rewards"} & set(roles):
            return False
        ends = roles.get("terminals")
        return (
            ends is None or not ends.shape or "rewards" in roles or roles["obs"].shape[:1] != ends.shape[:1]
        )
