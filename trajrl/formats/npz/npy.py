"""Members of an npz, read forward in constant memory; a member that holds pickled objects is never loaded."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np

from trajrl.formats.base.columns import block_rows
from trajrl.store.file.bounds import refuse_bomb

MAX_HEADER = 1 << 16
PREAMBLE = 12  # bytes before a header: what it is, its version and length


class NpyColumn:
    """One member: rows are decompressed as they are asked for; the block read last is held."""

    def __init__(self, archive: zipfile.ZipFile, member: str, what: str) -> None:
        self._archive, self._member, self._what = archive, member, what
        with archive.open(member) as file:
            self.shape, fortran, self.dtype = read_header(file, what)
        if fortran and len(self.shape) > 1:
            raise ValueError(
                f"{what} is stored by columns (Fortran order); save it again with numpy.ascontiguousarray"
            )
        self.num_bytes = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        held = archive.getinfo(member).file_size
        if self.num_bytes > held:
            claim = f"claims {self.num_bytes} bytes and holds {held}"
            raise ValueError(f"{what} {claim}; download or copy it again")
        self._step = block_rows(self.shape, self.dtype)
        self._file: IO[bytes] | None = None
        self._first, self._block = 0, np.empty((0, *self.shape[1:]), self.dtype)
        self._rewind()

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows [start, stop)."""
        if start < self._first:
            self._rewind()
        while self._first + len(self._block) < stop:
            end = self._first + len(self._block)
            kept = self._block[max(0, min(start, end) - self._first) :]
            fresh = self._next(max(self._step, stop - end))
            self._first, self._block = end - len(kept), np.concatenate([kept, fresh])
        return self._block[start - self._first : stop - self._first]

    def whole(self) -> np.ndarray:
        """Return all of it at once; the only way to read a single value."""
        self._rewind()
        assert self._file is not None
        raw = self._file.read(self.num_bytes)
        if len(raw) < self.num_bytes:
            raise ValueError(f"{self._what} ends after {len(raw)} of {self.num_bytes} bytes")
        self._rewind()
        return np.frombuffer(raw, self.dtype).reshape(self.shape)

    def close(self) -> None:
        """Close the member's stream."""
        if self._file is not None:
            self._file.close()

    def _rewind(self) -> None:
        self.close()
        self._file = self._archive.open(self._member)
        read_header(self._file, self._what)
        self._first, self._block = 0, np.empty((0, *self.shape[1:]), self.dtype)

    def _next(self, count: int) -> np.ndarray:
        """Read up to `count` further rows."""
        assert self._file is not None
        count = min(count, self.shape[0] - self._first - len(self._block))
        width = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        raw = self._file.read(count * width)
        if len(raw) < count * width or not count:
            raise ValueError(
                f"{self._what} ends after {self._first + len(self._block)} of {self.shape[0]} rows"
            )
        return np.frombuffer(raw, self.dtype).reshape(count, *self.shape[1:])


def read_header(file: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read shape, order and type of a .npy stream; objects are refused without a look at them."""
    head = BytesIO(file.read(MAX_HEADER + PREAMBLE))  # numpy itself would read a header of any length
    try:
        version = np.lib.format.read_magic(head)
        read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(head, max_header_size=MAX_HEADER)
        file.seek(head.tell())
    except ValueError as error:
        raise ValueError(f"{what} is not an array ({error}); download or copy the file again") from error
    if dtype.hasobject:
        raise ObjectMemberError(f"{what} holds pickled objects, which trajrl never loads from an npz")
    return tuple(shape), bool(fortran), dtype


class ObjectMemberError(ValueError):
    """A member that only unpickling could read."""


@contextmanager
def open_npz(path: Path) -> Iterator[tuple[Mapping[str, NpyColumn], list[str]]]:
    """Open the members of an npz as columns by name; also gives the names of those that hold objects."""
    opened: dict[str, NpyColumn] = {}
    skipped: list[str] = []
    try:
        archive = zipfile.ZipFile(path)
    except PermissionError as error:
        raise PermissionError(f"{path}: no permission to read it") from error
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is not a whole npz file ({error}); download or copy it again") from error
    with archive:
        try:
            for member in archive.namelist():
                if member.endswith(".npy"):
                    name = member.removesuffix(".npy")
                    try:
                        opened[name] = NpyColumn(archive, member, f"{path}: member '{name}'")
                    except ObjectMemberError:
                        skipped.append(name)
            num_bytes = sum(column.num_bytes for column in opened.values())
            refuse_bomb(path, num_bytes, path.stat().st_size, "save it with numpy.savez")
            yield opened, skipped
        finally:
            for column in opened.values():
                column.close()
