"""Content hashes: one digest per column, one fingerprint over the digests of what the episodes are.

    fingerprint = H(for each content column in order of name: name, type, row shape, digest)

Content is every per-step column and the table's length, terminated, success and source.  Labels (clusters,
filter masks) and attributes are outside it: clustering a store does not make it another data set.
"""

from __future__ import annotations

import hashlib

import numpy as np

CONTENT_TABLE = ("length", "terminated", "success", "source_code")
BLOCK_BYTES = 1 << 24
FAR_BLOCK = 1 << 17  # bytes of a column that are fetched, kept and verified together
BLOCKS = "block_digests"  # under stats/: those of all columns, in order of their names


def new_hash() -> hashlib.blake2b:
    """Return the hash every digest uses."""
    return hashlib.blake2b(digest_size=16)


class BlockDigests:
    """One digest for every FAR_BLOCK bytes of a column, by which a part of it can be believed alone."""

    def __init__(self) -> None:
        self._done: list[bytes] = []
        self._open, self._filled = new_hash(), 0

    def update(self, content: memoryview) -> None:
        """Take in the next bytes."""
        content = content.cast("B")
        while len(content):
            part = content[: FAR_BLOCK - self._filled]
            self._open.update(part)
            self._filled += len(part)
            content = content[len(part) :]
            if self._filled == FAR_BLOCK:
                self._close()

    def digests(self) -> np.ndarray:
        """Return the digests (blocks, 16) uint8; the last block may be short."""
        if self._filled:
            self._close()
        return np.frombuffer(b"".join(self._done), np.uint8).reshape(-1, 16)

    def _close(self) -> None:
        self._done.append(self._open.digest())
        self._open, self._filled = new_hash(), 0


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
