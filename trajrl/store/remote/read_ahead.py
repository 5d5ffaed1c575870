"""ReadAhead: windows that will be drawn soon are brought in the background, in small portions.

What goes wrong there is not raised: the draw itself meets it again, and says so.  Where a source is given up,
what else was asked ahead is too: an end of the program waits for all that is still to come.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from trajrl.store.remote.fetch import AT_ONCE, MOST_BLOCKS, Fetcher
from trajrl.store.shard_rows import ShardRows

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import Anchors, WindowSpec

PORTION = AT_ONCE * MOST_BLOCKS // 8  # blocks that one who waits for another block waits for


class ReadAhead:
    """Brings the rows of windows of a store with far parts."""

    def __init__(self, store: TrajectoryStore, spec: WindowSpec) -> None:
        self.store, self.spec = store, spec
        self._thread = ThreadPoolExecutor(1, "trajrl-ahead")
        self._open: list[Future[None]] = []

    @staticmethod
    def serves(store: TrajectoryStore) -> bool:
        """Say whether anything of a store is far away."""
        columns = (store.obs, store.actions, store.rewards, *store.images.values())
        return any(_far(column.base) for column in columns)

    def ask(self, anchors: Anchors) -> None:
        """Bring what windows at these anchors need, some time soon."""
        wanted: dict[Fetcher, list[np.ndarray]] = {}
        for base, rows in self._rows(anchors):
            for fetcher, blocks in base.far.wanted(base.place(rows)) if base.far else ():
                wanted.setdefault(fetcher, []).append(blocks)
        for fetcher, found in wanted.items():
            blocks = fetcher.mirror.missing(np.concatenate(found))
            for first in range(0, len(blocks), PORTION):
                self._open.append(self._thread.submit(self._bring, fetcher, blocks[first : first + PORTION]))
        self._open = [future for future in self._open if not future.done()]

    @property
    def pending(self) -> int:
        """Return how many portions are still to come."""
        return sum(not future.done() for future in self._open)

    def wait(self) -> None:
        """Wait until all that was asked for was brought."""
        for future in self._open:
            with suppress(CancelledError):
                future.result()

    def _bring(self, fetcher: Fetcher, blocks: np.ndarray) -> None:
        try:
            with suppress(ValueError):
                fetcher.bring(blocks)
        except OSError:
            for future in list(self._open):
                future.cancel()

    def _rows(self, anchors: Anchors) -> Iterator[tuple[ShardRows, np.ndarray]]:
        """Yield every column that may be far, with the rows (n,) that the windows touch at most."""
        spec, table = self.spec, self.store.table
        offline = anchors.episode < len(table)
        episode, step = anchors.episode[offline], anchors.step[offline]
        start, stop = table.start[episode], table.start[episode] + table.length[episode] - 1
        reach = spec.n + (spec.chunk if spec.next_actions else 0)
        frames = [self.store.obs, *self.store.images.values()]
        wanted = [(column, spec.history - 1, spec.n, episode) for column in frames]
        wanted += [
            (self.store.actions, spec.history, max(spec.num_actions, reach), np.zeros_like(episode)),
            (self.store.rewards, 0, spec.n, np.zeros_like(episode)),
        ]
        for column, before, after, shift in wanted:
            if _far(column.base):
                last = stop + (shift is episode)  # observations have one row more
                row = (start + step)[:, None] + np.arange(-before, after + 1)
                row = (np.clip(row, start[:, None], last[:, None]) + shift[:, None]).ravel()
                yield column.base, row[row < len(column.base)]


def _far(base: object) -> TypeGuard[ShardRows]:
    return isinstance(base, ShardRows) and base.far is not None
