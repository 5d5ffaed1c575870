"""Columns of encoded images in parquet files: bytes, or bytes and a name as `datasets` writes them.

A name without bytes is refused: it would lead to a file that the set's writer chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trajrl.formats.base.depth import depth_images
from trajrl.formats.base.encoded_image import decode
from trajrl.formats.base.options import Options
from trajrl.formats.base.resize import resized
from trajrl.formats.lerobot.footer import bytes_of
from trajrl.store.file.bounds import refuse_bomb
from trajrl.store.notes import Notes

BYTES = ".bytes"  # of the image in such a structure
AT_ONCE = 512 << 20  # bytes that rows read at once may take, were each as large as the group that it is in


def rows_at_once(path: Path, file: pq.ParquetFile, images: Sequence[str]) -> int:
    """Return how many rows of encoded images may be read at once: each could be as large as its whole group.

    Refused are columns that hold no encoded images, and those that unpack to far more than the file holds.
    """
    for name in images:
        if not holds_encoded(file.schema_arrow.field(name).type):
            kind = str(file.schema_arrow.field(name).type)[:60]
            raise ValueError(f"{path}: '{name}' holds {kind}; encoded images, as LeRobot has them, are due")
    places = {f"{name}{BYTES}" for name in images} | set(images)
    groups = bytes_of(path) if images else []  # not by arrow, which ends the process on a wrong footer
    sizes = [1, *(sum(max(0, n) for name, n in group.items() if name in places) for group in groups)]
    refuse_bomb(path, sum(sizes), path.stat().st_size, "write it without compression")
    return max(1, AT_ONCE // max(sizes))


def holds_encoded(kind: pa.DataType) -> bool:
    """Say whether a type is that of encoded images: bytes, or a structure of them as `datasets` writes it."""
    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def as_encoded(array: pa.Array, place: str, first: int = 0) -> np.ndarray:
    """Return a column of encoded images as objects (n,), the bytes of each."""
    while isinstance(array, pa.ExtensionArray):
        array = array.storage
    names: list[str | None] = [None] * len(array)
    if pa.types.is_struct(array.type):
        parts = dict(zip((field.name for field in array.type), array.flatten()))
        names = parts["path"].to_pylist() if "path" in parts else names
        array = parts["bytes"]
    found = np.empty(len(array), object)
    for row, value in enumerate(array):
        if not value.is_valid:
            named = f" but the name {str(names[row])[:60]!r}" if names[row] else ""
            raise ValueError(
                f"{place} has no image in row {first + row}{named}; the files must hold the images themselves"
            )
        found[row] = value.as_py()
    return found


def decoded(
    encoded: np.ndarray, place: str, first: int, shape: tuple[int, ...], options: Options, notes: Notes
) -> np.ndarray:
    """Return the images (n, h, w, c) of encoded ones (n,), made as large as asked; depth of 16 bits as bytes.

    Args:
        place: what the column is called
        first: number of the first row
        shape: what info.json says of each, with the channels first or last
    """
    frames = []
    for row, raw in enumerate(encoded, first):
        where = f"{place}, row {row},"
        frame = decode(raw, where, deep=True)
        if sorted(frame.shape) != sorted(shape):
            raise ValueError(f"{place}, row {row}, is an image of {frame.shape}; info.json says {shape}")
        deep = frame.dtype == np.uint16
        shown = (
            depth_images(frame[None], options.depth_range, options.size, notes, where)[0] if deep else frame
        )
        frames.append(resized(shown, options.size))
    if len({frame.shape for frame in frames}) > 1:
        raise ValueError(f"{place} has images of several shapes: {sorted({one.shape for one in frames})}")
    return np.stack(frames)
