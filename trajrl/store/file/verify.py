"""Verify a store file: every digest, the fingerprint, the seal and what the table says are computed again.

A flipped byte in a column, the table, a label or an attribute changes a digest or the seal; one in HDF5's own
headers fails a checksum there.  Every finding names the dataset or attribute.  Memory is constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from trajrl.core.damage import DAMAGE, first_line
from trajrl.store.file.hdf5 import (
    datasets,
    file_fingerprint,
    is_column,
    open_file,
    recorded_digest,
    seal_of,
)
from trajrl.store.hashing import digest
from trajrl.store.images import owns_last
from trajrl.store.table import PHASES

BLOCK_STEPS = 1 << 22  # rewards summed at a time
DIGITS = 1e-9  # a return may differ from the sum of its rewards by this share: the order of addition is free


def verify(path: Path) -> Iterator[str]:
    """Yield one line for everything that is wrong with a store file; nothing if it is whole."""
    try:
        file = open_file(path)
    except ValueError as error:
        yield str(error)
        return
    with file:
        try:
            names = datasets(file)
        except DAMAGE as error:
            yield f"the list of datasets cannot be read: {first_line(error)}"
            return
        sound = True
        for name in names:
            if wrong := _digest(file, name):
                sound = False
                yield wrong
        yield from _whole(file, sound)


def _digest(file: h5py.File, name: str) -> str:
    """Say what is wrong with one dataset."""
    try:
        found, recorded = digest(file[name]), recorded_digest(file[name])
        if found != recorded:
            return f"{name}: its content is not what was written (digest {found}, recorded {recorded})"
    except DAMAGE as error:
        return f"{name}: cannot be read ({first_line(error)})"
    return ""


def _whole(file: h5py.File, sound: bool) -> Iterator[str]:
    """Say what is wrong with what spans several datasets; the table only where all digests are right."""
    checks = {"attribute fingerprint": _fingerprint, "attributes": _seal}
    if sound:
        checks["table"] = _table
    for what, check in checks.items():
        try:
            wrong = check(file)
        except DAMAGE as error:
            wrong = f"cannot be read ({first_line(error)})"
        if wrong:
            yield f"{what}: {wrong}"


def _fingerprint(file: h5py.File) -> str:
    recorded, found = bytes(file.attrs["fingerprint"]).decode(), file_fingerprint(file)
    return "" if recorded == found else f"recorded {recorded}, the datasets give {found}"


def _seal(file: h5py.File) -> str:
    right = bytes(file.attrs["seal"]).decode() == seal_of(file)
    return "" if right else "an attribute or the list of datasets is not what was written"


def _table(file: h5py.File) -> str:
    """Check that the episodes lie one after the other, fill the columns, and have the returns said."""
    table = {name: file[f"table/{name}"][:] for name in file["table"]}
    start, length, steps = table["start"], table["length"], len(file["actions"])
    if (length < 1).any():
        return f"length of episode {int((length < 1).argmax())} is below 1"
    moved = start != np.cumsum(length) - length
    if moved.any():
        return f"start of episode {int(moved.argmax())} is not where the one before it ends"
    if int(length.sum()) != steps or len(file["obs"]) != steps + len(length):
        rows = f"actions has {steps} rows and obs {len(file['obs'])}"
        return f"{int(length.sum())} steps in {len(length)} episodes; {rows}"
    for name in filter(is_column, datasets(file)):
        due = steps + len(length) if owns_last(name) else steps
        if len(file[name]) != due:
            return f"{name} has {len(file[name])} rows; {due} are due for {steps} actions"
    for name, size in {"source_code": len(table["source_names"]), "phase": len(PHASES)}.items():
        strange = (table[name] < 0) | (table[name] >= size)
        if strange.any():
            return f"{name} of episode {int(strange.argmax())} stands for nothing"
    return _returns(file["rewards"], start, length, table["returns"])


def _returns(rewards: h5py.Dataset, start: np.ndarray, length: np.ndarray, returns: np.ndarray) -> str:
    """Add up the rewards of every episode, in blocks of whole episodes."""
    first = 0
    while first < len(start):
        last = max(first + 1, int(np.searchsorted(start, start[first] + BLOCK_STEPS)))
        begin, end = int(start[first]), int(start[last - 1] + length[last - 1])
        block = rewards[begin:end].astype(np.float64)
        found = np.add.reduceat(block, start[first:last] - begin)
        size = np.add.reduceat(np.abs(block), start[first:last] - begin)
        wrong = ~(np.abs(found - returns[first:last]) <= DIGITS * (1 + size))
        if wrong.any():
            e = int(wrong.argmax())
            return (
                f"return of episode {first + e} is {returns[first + e]:g}; its rewards add up to {found[e]:g}"
            )
        first = last
    return ""
