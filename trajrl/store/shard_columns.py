"""One column of several files: read into one array, or mapped into one range of addresses.

A part that lies askew in its file, so that its rows would be no rows of the common array, is copied if it is
small: HDF5 aligns what fills a page and packs what is smaller.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import h5py
import numpy as np

from trajrl.core.program import program
from trajrl.store.address_range import PAGE, AddressRange
from trajrl.store.file.hdf5 import recorded_digest
from trajrl.store.file.head import Head, Layout
from trajrl.store.hashing import FAR_BLOCK, digest
from trajrl.store.remote.far_blocks import FarBlocks, FarPart
from trajrl.store.remote.far_head import FarHead
from trajrl.store.shard_rows import ShardRows, fits, lay_out

MOST_COPIED = 1 << 20  # bytes of one part


def read_rows(heads: Sequence[Head], name: str) -> np.ndarray:
    """Read a column of all files into one array."""
    if any(isinstance(head, FarHead) for head in heads) and not any(head.packed for head in heads):
        found = mapped_rows(heads, name)
        return found[0 : len(found)]
    layouts = [head.columns[name] for head in heads]
    out = np.empty((sum(map(len, layouts)), *layouts[0].shape[1:]), layouts[0].dtype)
    first = 0
    for head, layout in zip(heads, layouts):
        with head.file() as file:
            if layout.row_bytes:
                file[name].read_direct(out[first : first + len(layout)])
                _require_as_written(head, file[name], out[first : first + len(layout)])
        first += len(layout)
    return out


def mapped_rows(heads: Sequence[Head], name: str) -> np.ndarray | ShardRows:
    """Map a column of all files into one range of addresses."""
    layouts = [head.columns[name] for head in heads]
    rows, width, like = np.array([len(layout) for layout in layouts]), layouts[0].row_bytes, layouts[0]
    if not width:
        return np.empty((int(rows.sum()), *like.shape[1:]), like.dtype)
    lead = _lead(layouts)
    at, size = lay_out([_offset(layout) for layout in layouts], rows, width, lead)
    there = AddressRange(size)
    for head, layout, place in zip(heads, layouts, at.tolist()):
        _place(there, head, name, layout, lead, lead + width * place)
    array = there.array(like.dtype, (int(at[-1] + rows[-1]), *like.shape[1:]), lead)
    far = [
        FarPart(head.fetcher, _offset(layout) // FAR_BLOCK, place, place + len(layout))
        for head, layout, place in zip(heads, layouts, at.tolist())
        if isinstance(head, FarHead)
    ]
    blocks = FarBlocks(far, width, len(heads) == 1) if far else None
    return ShardRows(array, np.concatenate([[0], np.cumsum(rows)]), at, blocks)


def _lead(layouts: Sequence[Layout]) -> int:
    """Return how far into a page the common array begins: as the first part that fills one does."""
    whole = (_offset(layout) for layout in layouts if len(layout) * layout.row_bytes >= PAGE)
    aligned = (offset % PAGE for offset in whole if offset % layouts[0].dtype.alignment == 0)
    return next(aligned, 0)


def _place(there: AddressRange, head: Head, name: str, layout: Layout, lead: int, at: int) -> None:
    """Map one file's rows to byte `at` of the range, or a copy of them where they lie askew."""
    offset, size = _offset(layout), layout.row_bytes * len(layout)
    with head.descriptor() as file:
        if fits(offset, layout.row_bytes, lead):
            there.place(file, offset, size, at)
            return
    if size > MOST_COPIED:
        again = f"`{program()} store import {head.place} --out X.h5` writes one that can"
        raise ValueError(f"{head.place} cannot be mapped beside the others, as {name} lies askew; {again}")
    with head.file() as source, tempfile.TemporaryFile() as spare:
        spare.seek(at % PAGE)
        spare.write(np.ascontiguousarray(source[name][:]).data)
        spare.flush()
        there.place(spare.fileno(), at % PAGE, size, at)


def _require_as_written(head: Head, dataset: h5py.Dataset, rows: np.ndarray) -> None:
    """Compare what came from far away with its digest."""
    if isinstance(head, FarHead) and digest(rows) != recorded_digest(dataset):
        raise ValueError(f"{head.place} sends other bytes than were written, in {dataset.name}")


def _offset(layout: Layout) -> int:
    assert layout.offset is not None  # packed files were sorted out
    return layout.offset
