"""Mirror: the blocks of one far store that are here, in one sparse file beside a table of when each was used.

    columns    block g at bytes [g * FAR_BLOCK, (g + 1) * FAR_BLOCK); what is not here is a hole
    used       uint32 per block: seconds since 2020 of its last use, 0 = not here; mapped by all processes
    lock       held shared while rows are read, alone while blocks are taken away

A block is written before `used` says that it is here, and every process compares its digest before it
believes it: what a crash or a bad disk left behind is fetched again.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from trajrl.core.atomic_files import said
from trajrl.store.hashing import FAR_BLOCK, new_hash

EPOCH = 1577836800  # 2020-01-01
_KEEP_SIZE_PUNCH_HOLE = 0x01 | 0x02  # of linux/falloc.h


class Mirror:
    """A folder of the cache, opened by one process."""

    def __init__(self, folder: Path, blocks: int) -> None:
        """Open the mirror of a store of so many blocks, making it where there is none."""
        self.folder, self.blocks = folder, blocks
        with said(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._columns = os.open(folder / "columns", os.O_RDWR | os.O_CREAT, 0o644)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            used = os.open(folder / "used", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                if os.fstat(used).st_size < blocks * 4:
                    os.ftruncate(used, max(4, blocks * 4))
                if os.fstat(self._columns).st_size < blocks * FAR_BLOCK:
                    os.ftruncate(self._columns, blocks * FAR_BLOCK)
            finally:
                os.close(used)
        self.used = np.memmap(folder / "used", np.uint32, "r+", shape=(max(1, blocks),))
        self._believed = np.zeros(blocks, bool)  # compared with their digests by this process

    def close(self) -> None:
        """Let go of the files; rows that are mapped stay."""
        os.close(self._columns)
        os.close(self._lock)

    @property
    def descriptor(self) -> int:
        """Return the file that holds the blocks, to be mapped."""
        return self._columns

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let nobody take a block away meanwhile."""
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def missing(self, blocks: np.ndarray) -> np.ndarray:
        """Return which of the blocks (n,) this process may not read yet, each once."""
        return np.unique(blocks[~((self.used[blocks] > 0) & self._believed[blocks])])

    def note_use(self, blocks: np.ndarray) -> None:
        """Take down that blocks (n,), which are here, are used now."""
        self.used[blocks] = now()

    def try_own(self, block: int, num_bytes: int, digest: bytes) -> bool:
        """Say whether a block is here from before and has this digest."""
        if not self.used[block]:
            return False
        content = os.pread(self._columns, num_bytes, block * FAR_BLOCK)
        self._believed[block] = block_digest(content) == digest
        return bool(self._believed[block])

    def write(self, block: int, content: bytes) -> None:
        """Put a block, whose digest was compared, in its place."""
        with said(self.folder):
            done = 0
            while done < len(content):
                done += os.pwrite(self._columns, content[done:], block * FAR_BLOCK + done)
        self._believed[block] = True
        self.used[block] = now()

    def num_bytes(self) -> int:
        """Return what the blocks take up on the disk."""
        return os.fstat(self._columns).st_blocks * 512


def take_away(folder: Path, blocks: np.ndarray) -> None:
    """Give the disk back what blocks (n,) of the mirror in a folder take up, whichever process uses it."""
    lock = os.open(folder / "lock", os.O_RDWR)
    columns = os.open(folder / "columns", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        used = np.memmap(folder / "used", np.uint32, "r+")
        used[blocks] = 0
        for block in blocks.tolist():
            punch_hole(columns, block * FAR_BLOCK, FAR_BLOCK)
    finally:
        os.close(columns)
        os.close(lock)  # which unlocks it


def punch_hole(descriptor: int, offset: int, num_bytes: int) -> None:
    """Turn bytes of a file into a hole; a file system that cannot is an OSError."""
    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if call(descriptor, _KEEP_SIZE_PUNCH_HOLE, offset, num_bytes):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def block_digest(content: bytes) -> bytes:
    """Return the digest of one block."""
    state = new_hash()
    state.update(content)
    return state.digest()


def now() -> int:
    """Return the time in seconds since EPOCH, at least 1."""
    return max(1, int(time.time()) - EPOCH)
