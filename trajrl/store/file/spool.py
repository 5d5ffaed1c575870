"""Spool: one column on its way to the file, raw rows in a part file and their running hash.

The number of rows is known only at the end, and a contiguous dataset needs it at the start: hence part files.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from trajrl.core.atomic_files import require_space
from trajrl.store.file.hdf5 import HEADROOM_BYTES, ON_DISK, PLAIN, put, seal, write_attributes
from trajrl.store.hashing import BLOCKS, BlockDigests, new_hash
from trajrl.store.table import Table

BUFFER_BYTES = 1 << 20


class Spool:
    """A column's part file; every row has the type and width of the first."""

    def __init__(self, path: Path, like: np.ndarray) -> None:
        self.path, self.dtype, self.width = path, like.dtype.newbyteorder("="), like.shape[1:]
        self.file: IO[bytes] = path.open("wb", buffering=BUFFER_BYTES)
        self.hash, self.blocks = new_hash(), BlockDigests()
        self.num_rows = 0

    @property
    def num_bytes(self) -> int:
        """Return the size of the rows written so far."""
        return self.num_rows * int(np.prod(self.width, dtype=int)) * self.dtype.itemsize

    def refuse(self, rows: np.ndarray) -> str:
        """Say what is wrong with rows for this column; nothing is an empty string."""
        if rows.shape[1:] != self.width:
            return f"is {rows.shape[1:]} wide; the episodes before it have {self.width}"
        if not np.can_cast(rows.dtype, self.dtype, "safe"):
            return f"is of type {rows.dtype}; the episodes before it have {self.dtype}"
        return ""

    def write(self, rows: np.ndarray) -> None:
        """Append rows that `refuse` has nothing against."""
        block = np.ascontiguousarray(rows, self.dtype)
        self.file.write(block.data)
        self.hash.update(block.data)
        if block.size:
            self.blocks.update(block.data)
        self.num_rows += len(rows)

    def close(self) -> None:
        """Close the part file; what a full disk did not take was reported when it was written."""
        with suppress(OSError):
            self.file.close()


def assemble(
    path: Path,
    spools: Mapping[str, Spool],
    table: Table,
    attributes: Mapping[str, Any],
    statistics: Mapping[str, np.ndarray],
) -> None:
    """Write spooled columns and their table to a new store file, using up the part files."""
    offsets = {}
    for spool in spools.values():
        spool.file.flush()
    require_space(path, HEADROOM_BYTES, sum(spool.num_bytes for spool in spools.values()))
    with h5py.File(path, "w", **PLAIN) as file:
        for name, spool in spools.items():
            dataset = _reserve(file, name, (spool.num_rows, *spool.width), spool.dtype)
            dataset.attrs["digest"] = np.bytes_(spool.hash.hexdigest())
            offsets[name] = dataset.id.get_offset()
        for name in (*ON_DISK, *table.extra_names):
            put(file, f"table/{name}", getattr(table, name))
        put(file, "table/source_names", np.array([name.encode() or b"\0" for name in table.sources]))
        for name, value in statistics.items():
            put(file, f"stats/{name}", value)
        put(
            file,
            f"stats/{BLOCKS}",
            np.concatenate([spools[name].blocks.digests() for name in sorted(spools)]),
        )
        write_attributes(file, attributes)
        seal(file)
    with path.open("r+b") as out:
        for name, spool in spools.items():
            out.seek(offsets[name] or 0)  # no place: a column of no bytes
            with spool.path.open("rb") as rows:
                shutil.copyfileobj(rows, out, 1 << 22)
            spool.path.unlink()


def _reserve(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype) -> h5py.Dataset:
    """Create a contiguous dataset whose place is fixed at once and whose rows are written later."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    group, _, leaf = name.rpartition("/")
    parent = file.require_group(group) if group else file
    kind = h5py.h5t.py_create(dtype, logical=True)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(parent.id, leaf.encode(), kind, space, plist))
