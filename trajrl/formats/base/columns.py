"""Columns of foreign files, read forward in blocks: an HDF5 dataset, an array, or several in a row."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import h5py

BLOCK_BYTES = 8 << 20


class Column(Protocol):
    """Rows of one kind; `read` is asked for slices in order, and may look one block back."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows [start, stop)."""


def narrow(values: np.ndarray) -> np.ndarray:
    """Return numbers as float32; what that cannot hold becomes inf, which the store refuses by its place."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def block_rows(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Return how many rows of a column make one block."""
    return max(1, BLOCK_BYTES // max(1, int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize))


class Hdf5Column:
    """A dataset, read in blocks of whole chunks."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        if dataset.shape is None:
            raise ValueError(f"{dataset.file.filename}: '{dataset.name}' is empty: it has a type and no rows")
        self.shape, self.dtype = dataset.shape, dataset.dtype
        self._dataset = dataset
        chunk = dataset.chunks[0] if dataset.chunks else 1
        self._step = -(-block_rows(self.shape, self.dtype) // chunk) * chunk
        self._first, self._block = 0, np.empty((0, *self.shape[1:]), self.dtype)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows [start, stop), from the block held where they are in it."""
        if start < self._first or stop > self._first + len(self._block):
            self._first = start // self._step * self._step
            last = max(stop, self._first + self._step)
            self._block = self._dataset[self._first : min(last, self.shape[0])]
        return self._block[start - self._first : stop - self._first]


class ArrayColumn:
    """An array held in memory."""

    def __init__(self, array: np.ndarray) -> None:
        self.shape, self.dtype, self._array = array.shape, array.dtype, array

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows [start, stop)."""
        return self._array[start:stop]


class Joined:
    """Columns one after another."""

    def __init__(self, parts: Sequence[Column], name: str) -> None:
        if len({part.shape[1:] for part in parts}) > 1:
            raise ValueError(
                f"the parts of '{name}' have rows of shapes {sorted({part.shape[1:] for part in parts})}"
            )
        self._parts = parts
        self._start = np.cumsum([0, *(part.shape[0] for part in parts)]).tolist()
        self.shape = (self._start[-1], *parts[0].shape[1:])
        self.dtype = np.result_type(*(part.dtype for part in parts))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows [start, stop), from one part or over a seam."""
        first = max(0, bisect.bisect_right(self._start, start) - 1)
        pieces = []
        for index in range(first, len(self._parts)):
            low, high = self._start[index], self._start[index + 1]
            if low >= stop:
                break
            pieces.append(self._parts[index].read(max(start, low) - low, min(stop, high) - low))
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
