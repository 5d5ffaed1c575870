"""FarBlocks: the blocks that hold rows about to be read are brought, and stay while they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np

from trajrl.store.hashing import FAR_BLOCK
from trajrl.store.remote.cache import cache_bytes
from trajrl.store.remote.fetch import Fetcher

BITS = FAR_BLOCK.bit_length() - 1  # a block is a power of two
ATTEMPTS = 8  # other processes may take blocks away between fetching and reading


class FarPart(NamedTuple):
    """The rows of one far store in a column."""

    fetcher: Fetcher
    block: int  # that holds the first byte
    low: int  # places [low, high)
    high: int


class FarBlocks:
    """The far parts of one column."""

    def __init__(self, parts: Sequence[FarPart], row_bytes: int, alone: bool) -> None:
        """Take the far parts of a column; alone: no other part is here."""
        self.parts, self._row_bytes, self._alone = tuple(parts), row_bytes, alone and len(parts) == 1

    @contextmanager
    def holding(self, place: np.ndarray) -> Iterator[None]:
        """Bring the rows in places (n,), and keep them while the body reads them."""
        wanted = self.wanted(place)
        for _ in range(ATTEMPTS):
            with ExitStack() as held:
                for fetcher, _ in wanted:
                    held.enter_context(fetcher.mirror.reading())
                if not any(len(fetcher.mirror.missing(blocks)) for fetcher, blocks in wanted):
                    for fetcher, blocks in wanted:
                        fetcher.mirror.note_use(blocks)
                    yield
                    return
            for fetcher, blocks in wanted:
                fetcher.bring(blocks)
        need = sum(len(np.unique(blocks)) for _, blocks in wanted) * FAR_BLOCK
        raise ValueError(
            f"the cache ({cache_bytes() / 1e9:g} GB) is too small for one read of {need / 1e6:.1f} MB: "
            "raise TRAJRL_FAR_CACHE_GB"
        )

    def wanted(self, place: np.ndarray) -> list[tuple[Fetcher, np.ndarray]]:
        """Return the blocks that hold the rows in places (n,), of each source that has some."""
        found = []
        for part in self.parts:
            mine = place if self._alone else place[(place >= part.low) & (place < part.high)]
            if len(mine):
                found.append((part.fetcher, part.block + self._blocks(mine - part.low)))
        return found

    def _blocks(self, row: np.ndarray) -> np.ndarray:
        """Return the blocks of rows (n,) of one part: those of the first byte, the last, and in between."""
        first = row * self._row_bytes
        last = first + self._row_bytes - 1
        between = [(first + step) >> BITS for step in range(FAR_BLOCK, self._row_bytes, FAR_BLOCK)]
        return np.concatenate([first >> BITS, *between, last >> BITS])
