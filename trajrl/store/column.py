"""Column: one flat array of the store, a base (mapped or in RAM) and a tail that grows with new episodes.

The base is an array, or shards of several files.  These lie apart, so a row has a place there: who reads many
rows of one episode asks for the place of one and counts from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch


class Rows(Protocol):
    """What a column asks of a base that is no array; nothing is ever written to it."""

    @property
    def num_places(self) -> int:
        """Return the number of places."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the number of rows and the shape of one."""

    @property
    def dtype(self) -> np.dtype:
        """Return the type of every number."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return rows [start, stop), a view or a copy."""

    def place(self, row: np.ndarray) -> np.ndarray:
        """Return where rows (...,) lie; the rows of one episode lie one after the other."""

    def take_at(self, place: np.ndarray) -> np.ndarray:
        """Copy the rows in places, any shape: (...,) -> (..., *width)."""


class Column:
    """Rows 0 .. len-1; `base` is never written, appended rows live in the tail."""

    def __init__(self, base: np.ndarray | Rows) -> None:
        # A plain view of an array: np.memmap's own indexing is slower.
        self.base = np.asarray(base) if isinstance(base, np.ndarray) else base
        self._tail = np.empty((0, *self.base.shape[1:]), self.base.dtype)
        self._num_places = len(base) if isinstance(base, np.ndarray) else base.num_places
        self._used = 0  # rows of the tail in use
        self._resident: torch.Tensor | None = None
        self._kept_on: tuple[torch.device, ...] = ()  # its device, by the names that mean it: cuda, cuda:0

    def __len__(self) -> int:
        return len(self.base) + self._used

    @property
    def width(self) -> tuple[int, ...]:
        """Return the shape of one row."""
        return self.base.shape[1:]

    def append(self, values: np.ndarray) -> None:
        """Add rows at the end; the tail doubles when it is full."""
        need = self._used + len(values)
        if need > len(self._tail):
            grown = np.empty((max(need, 2 * len(self._tail), 1024), *self.width), self.base.dtype)
            grown[: self._used] = self._tail[: self._used]
            self._tail = grown
        self._tail[self._used : need] = values
        self._used = need
        if self._resident is not None:
            self._resident = self._joined(self._resident, self._tail[need - len(values) : need])

    def rows(self, index: np.ndarray) -> np.ndarray:
        """Copy rows by index, any shape: (...,) -> (..., *width)."""
        return self._at(self._place(index))

    @property
    def whole(self) -> bool:
        """Say whether the place of every row is the row itself."""
        return self._resident is not None or isinstance(self.base, np.ndarray)

    def place(self, row: np.ndarray) -> np.ndarray:
        """Return where `take_at` finds rows (...,): one by one where it is another place, mostly the same."""
        return row if self.whole else self._place(row)

    def _place(self, row: np.ndarray) -> np.ndarray:
        if isinstance(self.base, np.ndarray):
            return row
        if not self._used:
            return self.base.place(row)
        online = row >= len(self.base)
        behind = row + (self.base.num_places - len(self.base))
        return np.where(online, behind, self.base.place(np.where(online, 0, row)))

    def _at(self, place: np.ndarray) -> np.ndarray:
        """Copy the rows in places, which go on in the tail."""
        base, size = self.base, self._num_places
        if not size:
            return self._tail[: self._used].take(place, axis=0)
        online = place >= size if self._used else None
        inside = place if online is None else np.where(online, 0, place)
        out = base.take(inside, axis=0) if isinstance(base, np.ndarray) else base.take_at(inside)
        if online is not None:
            out[online] = self._tail[: self._used].take(place[online] - size, axis=0)
        return out

    def slice(self, start: int, stop: int) -> np.ndarray:
        """Return rows [start, stop); a view where they lie in one part."""
        size = len(self.base)
        if stop <= size:
            return self.base[start:stop]
        if start >= size:
            return self._tail[start - size : stop - size]
        return np.concatenate([self.base[start:], self._tail[: stop - size]])

    def take(self, index: np.ndarray, device: str | torch.device = "cpu") -> torch.Tensor:
        """Copy rows by index to a tensor on `device`: (...,) -> (..., *width)."""
        return self.take_at(self.place(index), device)

    def take_at(self, place: np.ndarray, device: str | torch.device = "cpu") -> torch.Tensor:
        """Copy the rows in places, which `place` gave, to a tensor on `device`: (...,) -> (..., *width)."""
        import torch

        if self._resident is not None and torch.device(device) in self._kept_on:
            return self._resident[torch.from_numpy(place).to(device, non_blocking=True)]
        rows = self._at(place) if self._resident is None else self.rows(place)
        return torch.from_numpy(rows).to(device, non_blocking=True)

    def keep_on(self, device: str | torch.device) -> None:
        """Hold a copy of the whole column on `device`, so that `take` needs no transfer of rows."""
        import torch

        self._resident = torch.from_numpy(np.array(self.slice(0, len(self)))).to(device)
        self._kept_on = torch.device(device), self._resident.device

    @staticmethod
    def _joined(resident: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        """Add rows to a copy on a device; once per episode, at the device's own speed."""
        import torch

        return torch.cat([resident, torch.from_numpy(rows).to(resident.device)])
