"""Pack a store file: a chunked, compressed copy for keeping and sending, with the same fingerprint.

A packed file cannot be mapped; `store import` unpacks it.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from trajrl.store.atomic import new_file
from trajrl.store.hdf5 import DAMAGE, damaged, datasets, is_column, open_file
from trajrl.store.writer import refuse_foreign

CHUNK_BYTES = 1 << 18
LAYOUT = ("v110", "v110")  # its index of chunks carries checksums
LEVEL = 6  # of gzip: 1 fast .. 9 small


def pack(source: Path, out: Path) -> None:
    """Write a compressed copy of the store file `source`; a failure leaves no file."""
    refuse_foreign(out)
    with open_file(source) as file, new_file(out) as place, h5py.File(place, "w", libver=LAYOUT) as packed:
        for name in _names(source, file):
            _copy(source, file[name], packed, name)
        for name, value in file.attrs.items():
            packed.attrs[name] = value


def _names(source: Path, file: h5py.File) -> list[str]:
    try:
        return datasets(file)
    except DAMAGE as error:
        raise damaged(source, error) from error


def _copy(source: Path, dataset: h5py.Dataset, packed: h5py.File, name: str) -> None:
    """Copy one dataset in blocks, columns compressed, with its digest."""
    if is_column(name) and dataset.size:
        row_bytes = dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))
        rows = min(len(dataset), max(1, CHUNK_BYTES // row_bytes))
        made = packed.create_dataset(
            name, dataset.shape, dataset.dtype, chunks=(rows, *dataset.shape[1:]),
            compression="gzip", compression_opts=LEVEL, shuffle=True,
        )  # fmt: skip
        for first in range(0, len(dataset), 16 * rows):
            made[first : first + 16 * rows] = _read(source, dataset, first, first + 16 * rows)
    else:
        made = packed.create_dataset(name, data=_read(source, dataset, 0, len(dataset)))
    made.attrs["digest"] = dataset.attrs["digest"]


def _read(source: Path, dataset: h5py.Dataset, first: int, stop: int) -> np.ndarray:
    """Read rows; a failure to read is the source's, not the target's."""
    try:
        return dataset[first:stop]
    except DAMAGE as error:
        raise damaged(source, error) from error
