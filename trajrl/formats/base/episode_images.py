"""The images of one episode, which a reader holds whole: of plain columns, and encoded ones; with a bound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trajrl.formats.base.columns import Column, block_rows
from trajrl.formats.base.encoded_image import decode
from trajrl.formats.base.resize import Size, all_resized, resized

EPISODE_BYTES = 2 << 30


def refuse_large(where: str, count: int, image_bytes: int) -> None:
    """Refuse an episode of so many frames, each with so many bytes of images, if it would fill the memory."""
    if count * image_bytes > EPISODE_BYTES:
        raise ValueError(
            f"{where} has {count} frames or more, with {count * image_bytes >> 20} MiB of images; "
            f"at most {EPISODE_BYTES >> 20} MiB are held: --image-size makes them smaller"
        )


def plain_images(column: Column, start: int, stop: int, size: Size | None, where: str) -> np.ndarray:
    """Return rows [start, stop) of a column of images (n, h, w, c), as large as asked, block by block.

    Numbers other than bytes are read where each of them is a whole one from 0 to 255.
    """
    shape = (*(size or column.shape[1:3]), column.shape[3])
    refuse_large(where, stop - start, int(np.prod(shape)))
    found = np.empty((stop - start, *shape), np.uint8)
    step = block_rows(column.shape, column.dtype)
    for first in range(start, stop, step):
        last = min(first + step, stop)
        rows = _as_bytes(column.read(first, last), where)
        found[first - start : last - start] = all_resized(rows, size)
    return found


def encoded_images(packed: Sequence[bytes | memoryview], size: Size | None, where: str) -> np.ndarray:
    """Return encoded images as (n, h, w, c), as large as asked; all have the shape of the first."""
    frames: np.ndarray | None = None
    for step, raw in enumerate(packed):
        frame = resized(decode(raw, f"{where}, step {step},"), size)
        if frames is None:
            refuse_large(where, len(packed), frame.nbytes)
            frames = np.empty((len(packed), *frame.shape), np.uint8)
        if frame.shape != frames.shape[1:]:
            raise ValueError(
                f"{where}: its image of step {step} is {frame.shape}, and that of step 0 {frames.shape[1:]}; "
                "--image-size makes them alike"
            )
        frames[step] = frame
    if frames is None:
        raise ValueError(f"{where} has no images")
    return frames


def _as_bytes(rows: np.ndarray, where: str) -> np.ndarray:
    """Return numbers as bytes, which hold whole ones from 0 to 255."""
    if rows.dtype == np.uint8:
        return rows
    with np.errstate(invalid="ignore"):
        found = rows.astype(np.uint8)
    if not np.array_equal(found, rows):
        raise ValueError(
            f"{where} is {rows.dtype} and not whole numbers from 0 to 255; write images as bytes (uint8)"
        )
    return found
