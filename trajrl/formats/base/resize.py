"""Images in another size, as `--image-size` asks: each new pixel is the mean of what it covers.

An image that grows is drawn between its pixels.  Both are pillow's bilinear filter.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

Size = tuple[int, int]  # height and width
LARGEST = 4096  # pixels a side


def check_size(size: tuple[int, ...]) -> None:
    """Refuse what is no size of an image."""
    if size and (len(size) != 2 or not all(1 <= side <= LARGEST for side in size)):
        said = " ".join(map(str, size))
        raise ValueError(f"an image size is a height and a width of 1 to {LARGEST} pixels; got {said}")


def resized(frame: np.ndarray, size: Size | None) -> np.ndarray:
    """Return an image (h, w, c) of bytes in a size; as it is where none is asked for, or it has it."""
    if not size or frame.shape[:2] == tuple(size):
        return frame
    if frame.shape[2] == 3:
        return _resized(frame, size)
    return np.stack([_resized(frame[..., c], size) for c in range(frame.shape[2])], axis=-1)


def _resized(frame: np.ndarray, size: Size) -> np.ndarray:
    whole = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(whole.resize(size[::-1], Image.Resampling.BILINEAR))


def all_resized(frames: np.ndarray, size: Size | None) -> np.ndarray:
    """Return images (n, h, w, c) in a size."""
    if not size or frames.shape[1:3] == tuple(size):
        return frames
    out = np.empty((len(frames), *size, frames.shape[3]), np.uint8)
    for row, frame in zip(out, frames):
        row[:] = resized(frame, size)
    return out
