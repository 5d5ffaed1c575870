"""The fingerprint of a store: of its live episodes, equal to that of the file they would be written to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trajrl.store.hashing import CONTENT_TABLE, combine, digest, new_hash
from trajrl.store.images import owns_last

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trajrl.store.column import Column
    from trajrl.store.table import Table


def fingerprint(columns: Mapping[str, Column], table: Table) -> str:
    """Hash the live episodes of a store, its columns under their names in a file (hashing.py has the law)."""
    live = np.flatnonzero(table.alive)
    hashes = {name: new_hash() for name in columns}
    for e, start, length in zip(live, table.start[live], table.length[live]):
        for name, column in columns.items():
            first, more = (start + e, 1) if owns_last(name) else (start, 0)
            hashes[name].update(np.ascontiguousarray(column.slice(first, first + length + more)).data)
    described = {
        name: (column.base.dtype.str, column.width, hashes[name].hexdigest())
        for name, column in columns.items()
    }
    content, sources = _content(table, live)
    described.update({f"table/{name}": (part.dtype.str, (), digest(part)) for name, part in content.items()})
    return combine(described, sources)


def _content(table: Table, live: np.ndarray) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the content columns of the live rows, with sources numbered as a writer would meet them."""
    content = {name: getattr(table, name)[live] for name in CONTENT_TABLE}
    found, first, place = np.unique(content["source_code"], return_index=True, return_inverse=True)
    met = np.argsort(first)  # the codes in order of first use
    content["source_code"] = np.argsort(met)[place].astype(np.int32)
    return content, [table.sources[code] for code in found[met]]
