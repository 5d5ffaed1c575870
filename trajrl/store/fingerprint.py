"""Content hashes: one digest per column, one fingerprint over the digests of what the episodes are.

    fingerprint = H(for each content column in order of name: name, type, row shape, digest)

Content is every per-step column and the table's length, terminated, success and source.  Labels (clusters,
filter masks) and attributes are outside it: clustering a store does not make it another data set.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.table import Table

CONTENT_TABLE = ("length", "terminated", "success", "source_code")
BLOCK_BYTES = 1 << 24


def new_hash() -> hashlib.blake2b:
    """Return the hash every digest uses."""
    return hashlib.blake2b(digest_size=16)


def digest(array: np.ndarray) -> str:
    """Hash an array's bytes in blocks, so that a mapped column is never held whole."""
    state = new_hash()
    rows = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    for first in range(0, len(array), rows):
        state.update(np.ascontiguousarray(array[first : first + rows]).data)
    return state.hexdigest()


def combine(columns: dict[str, tuple[str, tuple[int, ...], str]], sources: list[str]) -> str:
    """Hash (type, row shape, digest) of every content column in order of name, and the sources' names."""
    state = new_hash()
    for name in sorted(columns):
        kind, width, column_digest = columns[name]
        state.update(f"{name}|{kind}|{width}|{column_digest}\n".encode())
    state.update("\0".join(sources).encode())
    return state.hexdigest()


def fingerprint(store: TrajectoryStore) -> str:
    """Hash the live episodes of a store; equal to that of the file they would be written to."""
    live = store.live
    columns = {"obs": store.obs, "actions": store.actions, "rewards": store.rewards}
    columns.update({f"extras/{name}": column for name, column in store.extras.items()})
    hashes = {name: new_hash() for name in columns}
    for e, start, length in zip(live, store.table.start[live], store.table.length[live]):
        for name, column in columns.items():
            first, more = (start + e, 1) if name == "obs" else (start, 0)
            hashes[name].update(np.ascontiguousarray(column.slice(first, first + length + more)).data)
    described = {
        name: (column.base.dtype.str, column.width, hashes[name].hexdigest())
        for name, column in columns.items()
    }
    table, sources = _content(store.table, live)
    described.update({f"table/{name}": (part.dtype.str, (), digest(part)) for name, part in table.items()})
    return combine(described, sources)


def _content(table: Table, live: np.ndarray) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the content columns of the live rows, with sources numbered as a writer would meet them."""
    content = {name: getattr(table, name)[live] for name in CONTENT_TABLE}
    found, first, place = np.unique(content["source_code"], return_index=True, return_inverse=True)
    met = np.argsort(first)  # the codes in order of first use
    content["source_code"] = np.argsort(met)[place].astype(np.int32)
    return content, [table.sources[code] for code in found[met]]
