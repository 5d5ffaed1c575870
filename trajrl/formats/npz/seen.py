"""What --obs-keys names in a recording of one episode: vectors side by side, and images under their names.

vector  (T+1 or T,) or (T+1 or T, n)       image  (T+1 or T, height, width, channels) of bytes
depth   (T+1 or T, height, width) or with one channel, which --depth-range makes bytes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trajrl.formats.base.columns import ArrayColumn
from trajrl.formats.base.depth import depth_images, is_depth
from trajrl.formats.base.episode_images import plain_images
from trajrl.formats.base.field_names import role_of
from trajrl.formats.base.options import Options
from trajrl.store.images import is_image
from trajrl.store.notes import Notes

OBS = "observations"


class Seen(NamedTuple):
    """A recording with the vectors as its observations, and the images apart, all of as many rows."""

    arrays: dict[str, np.ndarray]
    images: dict[str, np.ndarray]  # (T+1 or T, h, w, c) uint8


def seen(arrays: Mapping[str, np.ndarray], keys: Sequence[str], place: Path) -> Seen:
    """Return a recording with the observations that were asked for; without keys it is as it was."""
    if not keys:
        return Seen(dict(arrays), {})
    absent = [key for key in keys if key not in arrays]
    if absent:
        raise ValueError(f"{place} has no '{absent[0]}'; choose --obs-keys from {', '.join(arrays)}")
    chosen = {key: arrays[key] for key in keys}
    images = {key: value for key, value in chosen.items() if value.ndim > 2}
    for key, value in images.items():
        if not (is_image(value.shape, value.dtype) or is_depth(value.shape, value.dtype)):
            raise ValueError(
                f"{place}: '{key}' is {value.dtype} of shape {value.shape}; a vector has one number or one "
                "row for each step, an image is bytes of (steps, height, width, channels), or depth"
            )
    rows = {key: len(np.atleast_1d(value)) for key, value in chosen.items()}
    first = keys[0]
    for key in keys[1:]:
        if rows[key] != rows[first]:
            raise ValueError(
                f"{place}: '{first}' has {rows[first]} rows and '{key}' {rows[key]}; they must be equal"
            )
    vectors = [value.reshape(rows[first], -1) for key, value in chosen.items() if key not in images]
    kept = {name: value for name, value in arrays.items() if name not in keys and role_of(name) != "obs"}
    joined = np.concatenate(vectors, axis=1) if vectors else np.empty((rows[first], 0), np.float32)
    return Seen({OBS: joined, **kept}, images)


def frames(
    images: Mapping[str, np.ndarray], steps: int, options: Options, place: Path, notes: Notes
) -> dict[str, np.ndarray]:
    """Return the images of an episode of `steps` actions (steps + 1, h, w, c); a last one lacking repeats."""
    found = {}
    for key, value in images.items():
        count, where = min(len(value), steps + 1), f"{place}: '{key}'"
        if is_depth(value.shape, value.dtype):
            shown = depth_images(value[:count], options.depth_range, options.size, notes, where)
        else:
            shown = plain_images(ArrayColumn(value), 0, count, options.size, where)
        found[key] = shown if len(shown) > steps else np.concatenate([shown, shown[-1:]])
    return found
