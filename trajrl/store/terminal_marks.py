"""Terminal marks of a store: the action rows that carry one, each searched once, also as steps are added."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trajrl.store.column import Column

BEYOND = np.iinfo(np.int64).max >> 1  # a row after every episode's
ROWS = 1 << 24  # searched at a time


class TerminalMarks:
    """The marked rows of one column, which grows; a column in its place asks for another of these."""

    def __init__(self) -> None:
        self._rows = np.array([BEYOND])
        self._searched = 0  # rows of the column

    def of(self, column: Column | None) -> np.ndarray:
        """Return the marked rows in order, closed by BEYOND; None marks nothing."""
        if column is not None and self._searched < len(column):
            firsts = range(self._searched, len(column), ROWS)
            blocks = ((first, column.slice(first, min(first + ROWS, len(column)))) for first in firsts)
            found = [np.flatnonzero(block) + first for first, block in blocks]
            self._rows = np.concatenate([self._rows[:-1], *found, self._rows[-1:]])
            self._searched = len(column)
        return self._rows
