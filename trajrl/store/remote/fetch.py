"""Fetch: blocks of a far store brought into its mirror, verified, several at a time.

Blocks that follow one another are one request.  A block whose digest is wrong is asked for again; if it stays
wrong the source is looked at: a changed file is one line, and so is a server that sends other bytes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np

from trajrl.store.hashing import FAR_BLOCK
from trajrl.store.remote.cache import make_space
from trajrl.store.remote.mirror import Mirror, block_digest
from trajrl.store.remote.reading import look_again, read_again
from trajrl.store.remote.source import ChangedError, Source, Version, changed

AT_ONCE = 16  # requests
MOST_BLOCKS = 32  # of one request
ATTEMPTS = 3  # for bytes of a wrong digest


@dataclass(frozen=True)
class Extent:
    """Where the blocks of a column lie at the source."""

    first: int  # block
    offset: int  # byte in the file
    num_bytes: int

    @property
    def blocks(self) -> int:
        """Return how many there are."""
        return -(-self.num_bytes // FAR_BLOCK)


class Fetcher:
    """Brings blocks of one version of a source into its mirror."""

    def __init__(
        self, source: Source, version: Version, mirror: Mirror, extents: Iterable[Extent], digests: np.ndarray
    ) -> None:
        """Fetch blocks that have these digests (blocks, 16) uint8."""
        self.source, self.version, self.mirror = source, version, mirror
        self._extents = sorted(extents, key=lambda extent: extent.first)
        self._first = np.array([extent.first for extent in self._extents])
        self._digests = digests
        self._pool = ThreadPoolExecutor(AT_ONCE, "trajrl-far")
        self._one = Lock()  # a block is asked for by one thread at a time
        self._failed: tuple[float, str] = (-math.inf, "")  # when a source was last given up, and why
        self.num_requests = self.num_bytes = 0

    def bring(self, blocks: np.ndarray) -> None:
        """See to it that blocks (n,) are here; the error of the first that cannot be brought is raised."""
        asked = time.monotonic()
        with self._one:
            if self._failed[0] > asked:  # whoever waited meanwhile need not wait as long again
                raise OSError(self._failed[1])
            wanted = [b for b in self.mirror.missing(blocks).tolist() if not self._own(b)]
            if not wanted:
                return
            make_space(len(wanted) * FAR_BLOCK)
            under_way = [self._pool.submit(self._fetch, run) for run in runs(wanted, self._first)]
            try:
                for done in under_way:
                    done.result()
            except OSError as error:
                self._failed = (time.monotonic(), str(error))
                raise
            finally:
                for left in under_way:
                    left.cancel()

    def place(self, block: int) -> tuple[int, int]:
        """Return the bytes [start, stop) of a block at the source."""
        extent = self._extents[int(np.searchsorted(self._first, block, side="right")) - 1]
        start = (block - extent.first) * FAR_BLOCK
        return extent.offset + start, extent.offset + min(start + FAR_BLOCK, extent.num_bytes)

    def _own(self, block: int) -> bool:
        start, stop = self.place(block)
        return self.mirror.try_own(block, stop - start, self._digests[block].tobytes())

    def _fetch(self, run: list[int]) -> None:
        """Fetch blocks that follow one another, and write those that are right; the rest again."""
        for _ in range(ATTEMPTS):
            start, stop = self.place(run[0])[0], self.place(run[-1])[1]
            content = memoryview(read_again(self.source, start, stop, self.version))
            self.num_requests += 1
            self.num_bytes += len(content)
            wrong = []
            for block in run:
                low, high = self.place(block)
                part = bytes(content[low - start : high - start])
                if block_digest(part) == self._digests[block].tobytes():
                    self.mirror.write(block, part)
                else:
                    wrong.append(block)
            if not wrong:
                return
            run = list(range(wrong[0], wrong[-1] + 1))
        now = look_again(self.source)
        if now != self.version:
            raise ChangedError(changed(self.source.url, self.version, now))
        start = self.place(run[0])[0]
        raise ValueError(
            f"{self.source.url} sends other bytes than were written, from byte {start} on, {ATTEMPTS} times; "
            "`store verify` on the file at the source says more"
        )


def runs(blocks: list[int], first: np.ndarray) -> Iterator[list[int]]:
    """Yield blocks that follow one another in one column, MOST_BLOCKS at most."""
    begins = set(first.tolist())
    run: list[int] = []
    for block in blocks:
        if run and (block != run[-1] + 1 or block in begins or len(run) == MOST_BLOCKS):
            yield run
            run = []
        run.append(block)
    if run:
        yield run
