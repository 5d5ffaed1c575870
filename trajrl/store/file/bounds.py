"""What a file may claim: rows that it holds, groups that end, and no more bytes unpacked than a limit."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np

DEEPEST = 32  # groups within groups
MOST_COLUMNS = 1000  # datasets and groups below one that holds columns
UNSTORED_BYTES = 64 << 20  # rows that a small file may claim without holding them
UNPACKED = 256 << 20  # bytes that a file may unpack to however well it was packed; those of one chunk too
RATIO = 50  # above that, how many times its size


class Visited:
    """The groups of one walk: none is entered twice, and what is found has a bound."""

    def __init__(self, place: str, most: int = MOST_COLUMNS) -> None:
        self._place, self._most = place, most
        self._seen: set[tuple[int, int]] = set()
        self._found = 0

    def enter(self, group: h5py.Group) -> None:
        """Take in a group; one that was entered before is refused: its paths could grow without end."""
        known = h5py.h5o.get_info(group.id)
        if (known.fileno, known.addr) in self._seen:
            wrong = f"'{group.name}' holds itself, or is linked twice; copy the data into a new file"
            raise ValueError(f"{self._place}: {wrong}")
        self._seen.add((known.fileno, known.addr))

    def count(self) -> None:
        """Take in a dataset or group that was found."""
        self._found += 1
        if self._found > self._most:
            wrong = f"it holds more than {self._most:,} datasets and groups where columns are due"
            raise ValueError(f"{self._place}: {wrong}; copy those that are meant into a new file")


class Unpacked:
    """Bytes that the columns of a file unpack to; too many are refused before any is read."""

    def __init__(self, file: h5py.File) -> None:
        self._path, self._num_bytes = file.filename, 0
        self._held = int(file.id.get_filesize())

    def add(self, columns: Iterable[h5py.Dataset]) -> None:
        """Take in columns, each as often as it is linked."""
        for column in columns:
            if column.shape is None:
                continue
            _refuse_large_chunks(self._path, column)
            self._num_bytes += int(np.prod(column.shape, dtype=object)) * column.dtype.itemsize
            refuse_bomb(self._path, self._num_bytes, self._held, "write it without compression")


def refuse_bomb(path: Path | str, num_bytes: int, held: int, instead: str) -> None:
    """Refuse a file that unpacks to far more than it holds, before any of it is unpacked."""
    if num_bytes > max(UNPACKED, RATIO * held):
        raise ValueError(
            f"{path} unpacks to {num_bytes >> 20} MiB, more than {RATIO} times its size; if that is meant, "
            f"{instead}"
        )


def _refuse_large_chunks(path: str, column: h5py.Dataset) -> None:
    """Refuse compressed chunks that alone would fill the memory: HDF5 unpacks each one whole."""
    if not column.chunks or not column.id.get_create_plist().get_nfilters():
        return
    num_bytes = int(np.prod(column.chunks, dtype=object)) * column.dtype.itemsize
    if num_bytes > UNPACKED:
        raise ValueError(
            f"{path}: '{column.name}' is compressed in chunks of {num_bytes >> 20} MiB, and at most "
            f"{UNPACKED >> 20} MiB are unpacked at once; write it in smaller chunks"
        )


def require_stored(dataset: h5py.Dataset) -> None:
    """Refuse a dataset that claims far more rows than the file holds: HDF5 would make them up."""
    if dataset.shape is None or not dataset.size:
        return
    absent = int(dataset.nbytes)
    if dataset.chunks:
        absent -= dataset.id.get_num_chunks() * int(np.prod(dataset.chunks)) * dataset.dtype.itemsize
    else:
        absent -= dataset.id.get_storage_size()
    if absent > max(UNSTORED_BYTES, 4 * dataset.file.id.get_filesize()):
        raise ValueError(
            f"'{dataset.name}' of {dataset.file.filename} claims {dataset.shape[0]} rows, of which the file "
            f"lacks {absent} bytes; import or copy it again"
        )
