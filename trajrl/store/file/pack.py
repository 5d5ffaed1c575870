"""Pack a store file: a chunked, compressed copy for keeping and sending; and back.

Both copies hold the same rows, digests, fingerprint, labels and attributes.  A packed file cannot be mapped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trajrl.core.atomic_files import new_file, require_space, state_of
from trajrl.core.damage import DAMAGE
from trajrl.store.file.bounds import refuse_bomb
from trajrl.store.file.hdf5 import (
    HEADROOM_BYTES,
    PACKED,
    PLAIN,
    damaged,
    datasets,
    is_column,
    make_room,
    open_file,
)
from trajrl.store.file.writer import refuse_foreign

CHUNK_BYTES = 1 << 18
BLOCK_BYTES = 1 << 24  # rows copied at a time
INDEX_BYTES = 32  # of one chunk, at most
LEVEL = 6  # of gzip: 1 fast .. 9 small


def pack(source: Path, out: Path) -> None:
    """Write a compressed copy of a store file; a failure leaves no file."""
    _copy(source, out, packed=True)


def unpack(source: Path, out: Path) -> None:
    """Write a plain copy of a store file, packed or not; a failure leaves no file."""
    _copy(source, out, packed=False)


def _copy(source: Path, out: Path, packed: bool) -> None:
    refuse_foreign(out)
    layout = PACKED if packed else PLAIN
    instead_of = state_of(source) if out.exists() and out.samefile(source) else ()
    with open_file(source) as file, new_file(out, instead_of) as place:
        require_space(place, HEADROOM_BYTES)
        with h5py.File(place, "w", **layout) as copy:
            names = _names(source, file)
            for name in names:
                form = _chunks(file[name]) if packed and is_column(name) and file[name].size else {}
                _copy_dataset(source, file[name], copy, name, form)
            for name, value in file.attrs.items():
                make_room(copy, 0 if isinstance(value, h5py.Empty) else np.asarray(value).nbytes)
                copy.attrs[name] = value
            if packed:  # what nobody could open is not written
                num_bytes = sum(file[name].nbytes for name in names)
                refuse_bomb(out, num_bytes, copy.id.get_filesize(), "keep the plain store")


def _names(source: Path, file: h5py.File) -> list[str]:
    try:
        return datasets(file)
    except DAMAGE as error:
        raise damaged(source, error) from error


def _chunks(dataset: h5py.Dataset) -> dict[str, Any]:
    """Return how a column is compressed: blocks of whole rows, bytes of equal rank side by side."""
    rows = min(len(dataset), max(1, CHUNK_BYTES // _row_bytes(dataset)))
    chunks = (rows, *dataset.shape[1:])
    return {"chunks": chunks, "compression": "gzip", "compression_opts": LEVEL, "shuffle": True}


def _copy_dataset(
    source: Path, dataset: h5py.Dataset, copy: h5py.File, name: str, form: dict[str, Any]
) -> None:
    """Copy a dataset in blocks of rows; a failure to read is the source's, not the target's."""
    chunk = form["chunks"][0] if form else 1
    rows = chunk * max(1, BLOCK_BYTES // (chunk * _row_bytes(dataset)))
    make_room(copy, INDEX_BYTES * -(-len(dataset) // chunk) if form else dataset.nbytes)
    made = copy.create_dataset(name, dataset.shape, dataset.dtype, **form)
    for first in range(0, len(dataset), rows):
        try:
            block = dataset[first : first + rows]
        except DAMAGE as error:
            raise damaged(source, error) from error
        make_room(copy, block.nbytes)
        made[first : first + rows] = block
    made.attrs["digest"] = dataset.attrs["digest"]


def _row_bytes(dataset: h5py.Dataset) -> int:
    """Return the bytes of a row, at least 1: an array without columns has rows of no bytes."""
    return max(1, int(dataset.dtype.itemsize * np.prod(dataset.shape[1:], dtype=int)))
