"""Head: what a store file says of itself, and where its columns lie; no column is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trajrl.core.atomic_files import State, state_of
from trajrl.core.damage import DAMAGE
from trajrl.store.file.hdf5 import damaged, datasets, is_column, open_file
from trajrl.store.file.reader import check_fit, facts, read_table
from trajrl.store.table import Table

SIZE = 2  # of a state: where the file's size stands


@dataclass(frozen=True)
class Layout:
    """One column in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int | None  # the byte at which its rows begin, one after the other; None where it is packed

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """Return the bytes of a row."""
        return int(self.dtype.itemsize * np.prod(self.shape[1:], dtype=object))


@dataclass(frozen=True)
class Head:
    """A store file without its columns."""

    place: Path | str  # a path, or an address
    table: Table
    attributes: dict[str, Any]  # with "statistics"
    columns: dict[str, Layout]
    state: State  # what changes when another file takes the place

    @property
    def packed(self) -> bool:
        """Say whether columns are compressed, so that they cannot be mapped."""
        return any(layout.offset is None for layout in self.columns.values())

    @contextmanager
    def file(self) -> Iterator[h5py.File]:
        """Open the file again, as the one that was described."""
        with open_file(Path(self.place)) as file:
            self._require_same(file.id.get_vfd_handle())
            try:
                yield file
            except DAMAGE as error:
                raise damaged(self.place, error) from error

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """Open the file again to map it."""
        found = os.open(self.place, os.O_RDONLY)
        try:
            self._require_same(found)
            yield found
        finally:
            os.close(found)

    def _require_same(self, descriptor: int) -> None:
        if state_of(descriptor) != self.state:
            raise ValueError(f"{self.place} was replaced while it was opened; begin again")


def read_head(place: Path) -> Head:
    """Describe a store file; anything else fails with one line."""
    with open_file(place) as file:
        try:
            names = datasets(file)
            columns = {name: layout_of(file[name]) for name in names if is_column(name)}
            table = read_table(file, names)
            check_fit(columns, table)
            return Head(place, table, facts(file, names), columns, state_of(file.id.get_vfd_handle()))
        except DAMAGE as error:
            raise damaged(place, error) from error


def layout_of(dataset: h5py.Dataset) -> Layout:
    """Return where a column lies."""
    offset = dataset.id.get_offset() if dataset.size else 0  # one of no bytes lies nowhere
    return Layout(dataset.shape, dataset.dtype, None if dataset.chunks else offset)
