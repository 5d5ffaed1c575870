"""Depth as bytes: an image of one channel that any network of images takes, on a scale that the user names.

    byte = 0                                                        no reading: 0, less, NaN or infinite
    byte = 1 + round(254 clip((d - near) / (far - near), 0, 1))     d in metres; whole numbers are millimetres

What is nearer or farther is cut, and counted.  One step of a byte is (far - near) / 254: 4 mm of a metre.
"""

from __future__ import annotations

import numpy as np

from trajrl.formats.base.resize import Size
from trajrl.store.notes import Notes

LEAST_SIDE = 16  # pixels; smaller arrays of floats are matrices, such as poses
STEPS = 254  # of a byte that are readings
ASKED = "--depth-range NEAR FAR, in metres, makes bytes of it"


def is_depth(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Say whether a column (n, h, w) or (n, h, w, 1) holds depth: floats, or whole numbers of 16 bits."""
    plane = shape[1:3] if len(shape) == 3 or (len(shape) == 4 and shape[3] == 1) else (0,)
    return (dtype.kind == "f" or dtype == np.uint16) and min(plane) >= LEAST_SIDE


def check_range(limits: tuple[float, ...]) -> None:
    """Refuse what is no range of depth."""
    if limits and (len(limits) != 2 or not 0 <= limits[0] < limits[1] < np.inf):
        raise ValueError(
            f"a range of depth is two rising numbers of metres; got {' '.join(map(str, limits))}"
        )


def as_bytes(rows: np.ndarray, limits: tuple[float, ...]) -> tuple[np.ndarray, int]:
    """Return depth (n, h, w) or (n, h, w, 1) as bytes (n, h, w, 1), and how many readings were cut."""
    near, far = limits
    with np.errstate(invalid="ignore", over="ignore"):
        metres = rows.astype(np.float64) / (1 if rows.dtype.kind == "f" else 1000)
        read = np.isfinite(metres) & (metres > 0)
        share = np.where(read, (metres - near) / (far - near), 0)
    cut = int((read & ((share < 0) | (share > 1))).sum())
    found = np.where(read, 1 + np.rint(STEPS * share.clip(0, 1)), 0).astype(np.uint8)
    return found.reshape(*rows.shape[:3], 1), cut


def nearest(frames: np.ndarray, size: Size | None) -> np.ndarray:
    """Return depth (n, h, w, 1) in a size; each pixel is one of the old: a mean would be a place between."""
    if not size or frames.shape[1:3] == tuple(size):
        return frames
    row, column = (
        ((np.arange(asked) + 0.5) * had / asked).astype(np.int64)
        for asked, had in zip(size, frames.shape[1:3])
    )
    return frames[:, row[:, None], column]


def depth_images(
    rows: np.ndarray, limits: tuple[float, ...], size: Size | None, notes: Notes, where: str
) -> np.ndarray:
    """Return depth as images (n, h, w, 1) of bytes, as large as asked; without a range it is refused."""
    if not limits:
        raise ValueError(f"{where} is depth ({rows.dtype} of {'x'.join(map(str, rows.shape[1:]))}): {ASKED}")
    found, cut = as_bytes(rows, limits)
    notes.add("depth_made_bytes", len(rows), where)
    notes.add("depth_outside", cut, where)
    unread = ~(found > 0).any((1, 2, 3))  # (n,)
    notes.add("depth_unread", int(unread.sum()), where)
    ends = ((found <= 1) | (found == STEPS + 1)).all((1, 2, 3)) & ~unread
    notes.add("depth_of_other_range", int(ends.sum()), where)
    return nearest(found, size)
