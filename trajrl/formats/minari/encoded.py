"""JPEG images in Minari's HDF5 files: bytes of any length in each row, or of one length where all are alike.

HDF5 does not compress bytes of any length: rows that together are longer than the file repeat one another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

START = b"\xff\xd8\xff"  # of a JPEG image


def is_of_any_length(item: h5py.Dataset) -> bool:
    """Say whether each row of a column holds bytes of a length of its own."""
    return h5py.check_vlen_dtype(item.dtype) == np.dtype(np.uint8) and item.ndim == 1


def rows_of(item: h5py.Dataset) -> np.ndarray:
    """Return such rows as objects (n,), each an array of bytes, read one after another."""
    found, left = np.empty(len(item), object), Path(item.file.filename).stat().st_size
    for row in range(len(item)):
        found[row] = item[row]
        left -= found[row].nbytes
        if left < 0:
            raise ValueError(
                f"{item.file.filename}: '{item.name}' holds more bytes than its file; write it anew"
            )
    return found


def holds_jpeg(part: Any) -> bool:
    """Say whether an observation's rows are encoded images."""
    if not isinstance(part, np.ndarray) or not len(part):
        return False
    if part.dtype == object:
        return all(isinstance(row, np.ndarray) and row.dtype == np.uint8 for row in part)
    return part.dtype == np.uint8 and part.ndim == 2 and part[:, :3].tobytes() == START * len(part)
