"""Images of observations: what an episode may hold, which columns are theirs, and which keys are kept.

An observation is a vector, the state, and any number of images under names.  Either may be absent.

    obs (T+1, obs) float32, obs = 0 without a state        images/NAME (T+1, height, width, channels) uint8
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from trajrl.core.registry import unknown

PIXELS = "pixels"  # what images are called that have no name of their own
EMBEDDING = "embedding"  # attribute of a store whose vectors were made of images
PREFIX = "images/"  # of an image's column in a file
STATE = "state"  # the key of the vector
Seen = np.ndarray | Mapping[str, np.ndarray]  # one observation: a vector, or its parts by key
Shapes = Mapping[str, tuple[int, ...]]  # (height, width, channels) of every image, in order


def owns_last(column: str) -> bool:
    """Say whether a column of a file has a row for o_T as well: T+1 rows for an episode."""
    return column == "obs" or column.startswith(PREFIX)


def check_images(images: Mapping[str, np.ndarray], rows: int) -> None:
    """Refuse images that an episode of `rows` observations cannot hold; nothing is cast or reordered."""
    for name, frames in images.items():
        if name == STATE or not name or "/" in name:
            raise ValueError(f"an image has a plain name other than '{STATE}'; got '{name}'")
        if frames.dtype != np.uint8 or frames.ndim != 4 or not frames[:1].size:
            raise ValueError(
                f"image '{name}' is (T+1, height, width, channels) of bytes; "
                f"got {frames.dtype} of shape {frames.shape}"
            )
        if len(frames) != rows:
            raise ValueError(f"image '{name}' has {len(frames)} frames for {rows} observations")


def is_image(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Say whether a column of observations, (n, ...), holds images."""
    return len(shape) == 4 and dtype == np.uint8


def parted(obs: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return observations (n, ...) without a name as vectors and images: one of the two holds them all."""
    if not is_image(obs.shape, obs.dtype):
        return obs, {}
    return np.empty((len(obs), 0), np.float32), {PIXELS: obs}


def parts_of(seen: Seen) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the vector (obs,) of an observation and its images by key; either may be of no numbers."""
    if isinstance(seen, np.ndarray):
        return seen, {}
    vector = seen.get(STATE, np.empty(0, np.float32))
    return vector, {name: part for name, part in seen.items() if name != STATE}


def stacked(seen: Sequence[Seen]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the vectors (n, obs) of n observations, and their images (n, height, width, channels) by key."""
    vectors, images = zip(*map(parts_of, seen))
    return np.stack(vectors), {name: np.stack([one[name] for one in images]) for name in images[0]}


def keys_of(state: int, images: Iterable[str]) -> tuple[str, ...]:
    """Return the keys of an observation with a vector of so many numbers and these images."""
    return (*((STATE,) if state else ()), *images)


def chosen_keys(keys: Iterable[str], state: int, images: Iterable[str]) -> list[str]:
    """Return the keys asked for, each once; one that the data lacks is named."""
    have = keys_of(state, images)
    found = list(dict.fromkeys(keys))
    for key in found:
        if key not in have:
            raise ValueError(unknown("observation key", key, have))
    if not found:
        raise ValueError(f"at least one observation key is due; the data has {', '.join(have)}")
    return found


def described(state: int, images: Shapes) -> str:
    """Say what an observation consists of, in the order of its parts."""
    parts = [f"{name} {'x'.join(map(str, shape))}" for name, shape in images.items()]
    return " + ".join([*([f"{state} numbers"] if state or not parts else []), *parts])
