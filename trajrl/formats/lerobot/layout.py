"""Which columns of a LeRobot set are what: observations, the action, outcomes, and what is kept beside them.

observations   observation.state, observation.environment_state; else `state`; else every vector of them
outcomes       next.reward, next.done, next.truncated, next.success
bookkeeping    episode_index, frame_index, index, timestamp, task_index
images         those that are asked for: encoded in their column, or frames of a video beside the data
left           other images and videos, text, and stacks of more than two axes
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trajrl.formats.base.columns import ArrayColumn
from trajrl.formats.base.transitions import check_numbers
from trajrl.formats.lerobot.metadata import Feature
from trajrl.formats.lerobot.parquet import kind_of, open_parquet

ACTIONS = ("action", "actions")
USUAL = (("observation.state", "observation.environment_state"), ("state",))
INDICES = ("episode_index", "frame_index", "index")
BOOK = (*INDICES, "timestamp", "task_index")
OUTCOMES = ("next.reward", "next.done", "next.truncated", "next.success")
FRAMES = ("image", "video")  # dtypes


@dataclass(frozen=True)
class Layout:
    """The columns that are read."""

    obs: tuple[str, ...]
    action: str
    outcomes: tuple[str, ...]
    book: tuple[str, ...]
    extras: tuple[str, ...]
    images: tuple[str, ...]  # columns of encoded images that are read
    videos: tuple[str, ...]  # features whose frames are decoded
    frames: tuple[str, ...]  # images and videos: left where they are
    skipped: tuple[str, ...]  # no numbers
    kinds: dict[str, np.dtype]  # of the columns that are read
    row_bytes: int

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of all columns that are read."""
        return (*self.obs, self.action, *self.outcomes, *self.book, *self.extras)

    @property
    def shown(self) -> tuple[str, ...]:
        """Return the features that become images of the store."""
        return (*self.images, *self.videos)


def layout_of(file: Path, features: dict[str, Feature], asked: tuple[str, ...]) -> Layout:
    """Look at the first file's columns, and at what info.json says of them."""
    with open_parquet(file) as opened:
        kinds = {one.name: kind_of(one) for one in opened.schema_arrow}
    frames = tuple(name for name, one in features.items() if one.dtype in FRAMES or len(one.shape) > 2)
    images, videos = (tuple(n for n in asked if n in frames and features[n].dtype == k) for k in FRAMES)
    read = {
        name: kind
        for name, kind in kinds.items()
        if kind is not None and name not in frames and 0 not in _shape(features, name)
    }
    action = next((name for name in ACTIONS if name in read), None)
    if action is None:
        raise ValueError(f"{file} has no 'action' of numbers; it has {', '.join(kinds)}")
    for name in INDICES[:2]:
        if name not in read:
            raise ValueError(f"{file} has no '{name}'; it has {', '.join(kinds)}")
    for name in (one for one in BOOK if one != "timestamp" and one in read):
        if read[name].kind not in "iu":
            raise ValueError(f"{file}: '{name}' is {read[name]}; whole numbers are due")
    obs = _observations(file, read, frames, tuple(n for n in asked if n not in (*images, *videos)), asked)
    for name in (*images, *videos):
        if len(features[name].shape) != 3 or 0 in features[name].shape:
            raise ValueError(f"{file}: '{name}' has the shape {features[name].shape}; three axes are due")
    for name, what in ((action, "actions"), *((name, "observations") for name in obs)):
        check_numbers(file, name, ArrayColumn(np.empty((0, *_shape(features, name)), read[name])), what)
    outcomes = tuple(name for name in OUTCOMES if name in read)
    book = tuple(name for name in BOOK if name in read)
    taken = {*obs, action, *outcomes, *book}
    extras = tuple(n for n in read if n not in taken and (n != "terminal" or read[n].kind == "b"))
    skipped = tuple(n for n in kinds if n not in taken and n not in extras and n not in frames)
    left = tuple(name for name in frames if name not in (*images, *videos))
    columns = (*obs, action, *outcomes, *book, *extras)
    row_bytes = sum(int(np.prod(_shape(features, n), dtype=object)) * read[n].itemsize for n in columns)
    return Layout(
        obs, action, outcomes, book, extras, images, videos, left, skipped,
        {n: read[n] for n in columns}, row_bytes,
    )  # fmt: skip


def _shape(features: dict[str, Feature], name: str) -> tuple[int, ...]:
    return features[name].shape if name in features else (1,)


def _observations(
    file: Path,
    read: dict[str, np.dtype],
    frames: tuple[str, ...],
    vectors: tuple[str, ...],
    asked: tuple[str, ...],
) -> tuple[str, ...]:
    """Return which columns are vectors of the observations, in which order."""
    free = [name for name in read if name not in (*ACTIONS, *BOOK, *OUTCOMES)]
    for name in vectors:
        if name in frames:
            raise ValueError(
                f"{file}: '{name}' has more than two axes and is no image of LeRobot's; "
                f"choose --obs-keys from {', '.join(free)}"
            )
        if name not in free:
            have = ", ".join([*free, *frames]) or "nothing"
            raise ValueError(f"{file} has no observation '{name}'; choose --obs-keys from {have}")
    if asked:
        return vectors
    for usual in USUAL:
        if found := tuple(name for name in usual if name in read):
            return found
    if found := tuple(name for name in free if name.startswith("observation.")):
        return found
    have = ", ".join([*free, *frames])
    raise ValueError(f"{file} has no observation.state; choose --obs-keys from {have}")
