"""Table: one row per episode, a struct of growing arrays that turns into a pandas frame.

start and length place the episode in the flat columns; `alive` is False once it was evicted.  Ids are row
numbers and never change.  `success` is 1, 0 or -1 (nobody said).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

CORE = {
    "start": np.int64,
    "length": np.int64,
    "terminated": np.bool_,
    "success": np.int8,
    "returns": np.float64,
    "source_code": np.int32,
    "phase": np.int8,
    "alive": np.bool_,
}
PHASES = ("offline", "online")


def phase_code(phase: str) -> int:
    """Return the number of a phase."""
    if phase not in PHASES:
        raise ValueError(f"a phase is {' or '.join(PHASES)}; got '{phase}'")
    return PHASES.index(phase)


class Table:
    """Struct of arrays over episodes; further columns (cluster labels, filter masks) are added by name."""

    def __init__(self) -> None:
        self._columns: dict[str, np.ndarray] = {name: np.empty(0, dtype) for name, dtype in CORE.items()}
        self._size = 0
        self.sources: list[str] = []  # source_code -> name
        self._codes: dict[str, int] = {}
        self._fill: dict[str, object] = {}  # value of a further column in rows appended later

    def __len__(self) -> int:
        return self._size

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._columns:
            raise AttributeError(
                f"the episode table has no column '{name}'; it has {', '.join(self._columns)}"
            )
        return self._columns[name][: self._size]

    @property
    def extra_names(self) -> list[str]:
        """Return the names of the further columns."""
        return [name for name in self._columns if name not in CORE]

    @property
    def source(self) -> np.ndarray:
        """Return every episode's source by name."""
        return np.array(self.sources or [""], dtype=object)[self.source_code]

    def source_of(self, episode: int) -> str:
        """Return one episode's source by name, without those of all others."""
        return self.sources[int(self.source_code[episode])] if self.sources else ""

    def code(self, source: str) -> int:
        """Return the number of a source name, giving it one if it is new."""
        if source not in self._codes:
            self._codes[source] = len(self.sources)
            self.sources.append(source)
        return self._codes[source]

    def append(self, **row: object) -> int:
        """Add one episode; columns not named take their fill value.  Returns its id."""
        if self._size == len(self._columns["start"]):
            self._grow(max(64, 2 * self._size))
        for name, column in self._columns.items():
            column[self._size] = (
                row[name] if name in row else self._fill.get(name, True if name == "alive" else 0)
            )
        self._size += 1
        return self._size - 1

    def extend(self, columns: dict[str, np.ndarray], sources: list[str]) -> None:
        """Add many episodes at once, as read from a file; `source_code` refers to `sources`."""
        codes = np.array([self.code(name) for name in sources] or [0], np.int32)
        count, first = len(columns["start"]), self._size
        self._grow(first + count)
        self._size = first + count
        for name, column in self._columns.items():
            column[first:] = columns[name] if name in columns else self._fill.get(name, name == "alive")
        self._columns["source_code"][first:] = codes[columns["source_code"]]

    def set(self, name: str, values: np.ndarray, fill: object = 0) -> None:
        """Add or replace a further column; `fill` is what episodes appended later get."""
        if name in CORE:
            raise ValueError(f"'{name}' is a column of every table; choose another name")
        if len(values) != self._size:
            raise ValueError(f"column '{name}' has {len(values)} values for {self._size} episodes")
        grown = np.full(len(self._columns["start"]), fill, np.asarray(values).dtype)
        grown[: self._size] = values
        self._columns[name] = grown
        self._fill[name] = fill

    def to_frame(self) -> pd.DataFrame:
        """Return the table as pandas, with sources and phases by name; the index is the episode id."""
        import pandas as pd

        columns = {
            name: getattr(self, name) for name in self._columns if name not in ("source_code", "phase")
        }
        phase = np.array(PHASES, dtype=object)[self.phase]
        return pd.DataFrame({**columns, "source": self.source, "phase": phase}).rename_axis("episode")

    def _grow(self, capacity: int) -> None:
        for name, column in self._columns.items():
            grown = np.empty(capacity, column.dtype)
            grown[: self._size] = column[: self._size]
            self._columns[name] = grown
