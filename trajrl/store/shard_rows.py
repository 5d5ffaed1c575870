"""ShardRows: the rows of several files as the base of one column.

    place of row r = at[s] + r - first[s],  s the shard that holds r: first[s] <= r < first[s + 1]

All shards lie in one array, each from the place on where its pages could be mapped, with gaps between them
that no row stands for.  So a draw is one numpy `take` of that array.  A small table finds the shift
at[s] - first[s] of a row by its leading bits; rows in a block where a shard ends are looked up one by one.
"""

from __future__ import annotations

from math import gcd

import numpy as np

from trajrl.store.address_range import PAGE
from trajrl.store.remote.far_blocks import FarBlocks

TABLE_BITS = 14  # of the number of entries: they stay in a core's own cache
ENDS_HERE = -1  # in the table, where no shift is below 0: more than one shard has rows in this block


PIECE_BYTES = 1 << 22  # of a slice that is copied from afar at a time


class ShardRows:
    """Rows 0 .. first[-1] - 1 of shards that lie apart in one array; they are never written."""

    def __init__(
        self, array: np.ndarray, first: np.ndarray, at: np.ndarray, far: FarBlocks | None = None
    ) -> None:
        """Take shards that begin at rows `first` (S + 1,), its last the total, and at places `at` (S,).

        Args:
            far: brings the rows that are not here
        """
        self._array, self._first, self._at = array, first, at
        self._shift, self.far = at - first[:-1], far
        self._bits = max(0, int(first[-1]).bit_length() - TABLE_BITS)
        self._table = self._shifts_by_block()

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the number of rows and the shape of one."""
        return (int(self._first[-1]), *self._array.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Return the type of every number."""
        return self._array.dtype

    def __len__(self) -> int:
        return int(self._first[-1])

    def take_at(self, place: np.ndarray) -> np.ndarray:
        """Copy the rows in places, any shape: (...,) -> (..., *width)."""
        if self.far is None:
            return self._array.take(place, axis=0)
        with self.far.holding(place.ravel()):
            return self._array.take(place, axis=0)

    @property
    def num_places(self) -> int:
        """Return the number of places, gaps among them."""
        return len(self._array)

    def place(self, row: np.ndarray) -> np.ndarray:
        """Return where rows (...,) lie in the array."""
        shift = self._table.take(row >> self._bits)
        if shift.min(initial=0) < 0:
            apart = np.flatnonzero(shift == ENDS_HERE)
            shift.ravel()[apart] = self._shift[self._shard_of(row.ravel()[apart])]
        return row + shift

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return rows [start, stop): a view where one shard holds them and all are here."""
        start, stop, _ = rows.indices(len(self))
        stretches = self._stretches(start, stop)
        if self.far is None:
            parts = [self._array[low:high] for low, high in stretches]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)
        most = max(1, PIECE_BYTES // max(1, self._array[:1].nbytes))
        places = [
            np.arange(first, min(first + most, high))
            for low, high in stretches
            for first in range(low, high, most)
        ]
        return np.concatenate([self._array[0:0], *map(self.take_at, places)])

    def _stretches(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the places [low, high) that rows [start, stop) take up, one pair for each shard."""
        if start >= stop:
            return [(0, 0)]
        first, last = self._shard_of(np.array([start, stop - 1])).tolist()
        edges = [start, *self._first[first + 1 : last + 1].tolist(), stop]
        shifts = self._shift[first : last + 1].tolist()
        return [(low + by, high + by) for low, high, by in zip(edges, edges[1:], shifts)]

    def _shard_of(self, row: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._first, row, side="right") - 1

    def _shifts_by_block(self) -> np.ndarray:
        """Return the shift of every block of 2^bits rows, ENDS_HERE where it is not one."""
        edge = np.arange(0, max(1, len(self)), 1 << self._bits)
        shard = self._shard_of(edge)
        last = self._shard_of(np.minimum(edge + (1 << self._bits), max(1, len(self))) - 1)
        return np.where(shard == last, self._shift[shard], ENDS_HERE)


def fits(offset: int, row_bytes: int, lead: int) -> bool:
    """Say whether rows that begin at byte `offset` of a file can be rows of an array begun at `lead`."""
    return (offset - lead) % gcd(row_bytes, PAGE) == 0


def lay_out(offset: list[int], rows: np.ndarray, row_bytes: int, lead: int) -> tuple[np.ndarray, int]:
    """Find places for shards of one column so that all rows are rows of one array.

    lead + row_bytes * at[s] = offset[s] modulo PAGE where that can be; no two shards share a page.

    Args:
        offset: byte in its file at which each shard's rows begin
        rows: (S,) of each shard
        lead: byte of the range at which the array begins
    Returns:
        at (S,), and the bytes of the whole range
    """
    shared = gcd(row_bytes, PAGE)
    step, end, at = PAGE // shared, 0, []
    inverse = pow(row_bytes // shared, -1, step)
    for begins, count in zip(offset, rows.tolist()):
        least = -(-max(0, -(-end // PAGE) * PAGE - lead) // row_bytes)
        solved = (begins - lead) // shared * inverse if fits(begins, row_bytes, lead) else least
        at.append(least + (solved - least) % step)
        end = lead + row_bytes * (at[-1] + count)
    return np.array(at, np.int64), end
