"""Arrays of zarr version 2, in a folder or a zip: read in blocks of whole chunks, never more than is stored.

    PATH/.zarray   JSON: shape, chunks, dtype, compressor, order, fill_value
    PATH/0.1       one chunk; one that is not there holds the fill value everywhere, and is counted

zlib, gzip, bz2, lz4 and zstd need nothing further, blosc needs numcodecs.  Other codecs are refused: some of
them would run code from the file.
"""

from __future__ import annotations

import bz2
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trajrl.core.extras import install
from trajrl.formats.base.columns import BLOCK_BYTES
from trajrl.formats.base.source import inside
from trajrl.store.file.bounds import UNPACKED, refuse_bomb

LARGEST_JSON = 1 << 20
MOST_CHUNKS = 1 << 20  # of an array
KINDS = "fiub"


class Files:
    """What lies below a folder or in a zip, by name with slashes."""

    def __init__(self, path: Path) -> None:
        self.path, self._zip = path, zipfile.ZipFile(path) if path.is_file() else None
        self.size = path.stat().st_size if self._zip else 0
        if self._zip:
            self.names = {
                name: found.file_size for name in self._zip.namelist() if (found := self._zip.getinfo(name))
            }
        else:
            self.names = {
                inside(path, file).relative_to(path).as_posix(): file.stat().st_size
                for file in path.rglob("*") if file.is_symlink() or not file.is_dir()
            }  # fmt: skip
            self.size = sum(self.names.values())

    def read(self, name: str, most: int) -> bytes:
        """Return the content of a file that is there and holds at most so many bytes."""
        if self.names[name] > most:
            raise ValueError(f"{self.path}: '{name}' has {self.names[name]} bytes; at most {most} are due")
        try:
            with self._zip.open(name) if self._zip else (self.path / name).open("rb") as file:
                return file.read(most)
        except PermissionError as error:
            raise PermissionError(f"{self.path / name}: no permission to read it") from error

    def close(self) -> None:
        """Close the zip."""
        if self._zip:
            self._zip.close()


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """Open a folder or a zip."""
    try:
        files = Files(path)
    except PermissionError as error:
        raise PermissionError(f"{path}: no permission to read it") from error
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a whole zip file ({error}); download or copy it again") from error
    try:
        yield files
    finally:
        files.close()


class ZarrColumn:
    """One array; the chunks of the rows read last are held."""

    def __init__(self, files: Files, name: str) -> None:
        self._files, self._name = files, name
        self.absent = 0  # chunks that are not stored
        self.what = f"{files.path}: array '{name}'"
        found = read_json(files, f"{name}/.zarray")
        self.shape, self._chunks = self._numbers(found, "shape"), self._numbers(found, "chunks")
        self.dtype = self._type(found.get("dtype"))
        self._order = found.get("order", "C")
        self._separator = found.get("dimension_separator", ".")
        self._fill, self._codec = found.get("fill_value"), found.get("compressor")
        self._check(found)
        self._pictures = len(self.shape) == 4
        if not self._pictures:  # images may be left, whatever they are packed by
            self._refuse_bomb()
        self._decode: Decode | None = None
        self.num_bytes = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        chunk = self._chunks[0]
        row_bytes = max(1, self.num_bytes // max(1, self.shape[0]))
        self._step = -(-max(1, BLOCK_BYTES // row_bytes) // chunk) * chunk
        self._first, self._block = 0, np.empty((0, *self.shape[1:]), self.dtype)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows [start, stop), from the block held where they are in it."""
        if start < self._first or stop > self._first + len(self._block):
            self._first = start // self._step * self._step
            last = min(max(stop, self._first + self._step), self.shape[0])
            rows = range(self._first // self._chunks[0], -(-last // self._chunks[0]))
            self._block = np.concatenate([self._row_of_chunks(row) for row in rows])[: last - self._first]
        return self._block[start - self._first : stop - self._first]

    def _row_of_chunks(self, row: int) -> np.ndarray:
        """Return the chunks of some rows side by side, (chunk, ...)."""
        sides = [range(-(-size // chunk)) for size, chunk in zip(self.shape[1:], self._chunks[1:])]
        if not any(len(side) > 1 for side in sides):
            return self._chunk((row, *(0 for _ in sides)))[(slice(None), *map(slice, self.shape[1:]))]
        found = np.empty((self._chunks[0], *self.shape[1:]), self.dtype)
        for index in product(*sides):
            place = tuple(
                slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(index, self._chunks[1:], self.shape[1:])
            )
            part = self._chunk((row, *index))
            found[(slice(None), *place)] = part[(slice(None), *(slice(p.stop - p.start) for p in place))]
        return found

    def _chunk(self, index: tuple[int, ...]) -> np.ndarray:
        """Return one chunk, as large as every other."""
        name = f"{self._name}/{self._separator.join(map(str, index))}"
        due = int(np.prod(self._chunks, dtype=object)) * self.dtype.itemsize
        if name not in self._files.names:
            if self._fill is None:
                raise ValueError(f"{self.what} lacks its chunk {name.rpartition('/')[2]}; copy it again")
            self.absent += 1
            return np.full(self._chunks, self._fill, self.dtype)
        if self._decode is None:
            self._refuse_bomb()
            self._decode = decoder(self._codec, self.what)
        raw = self._files.read(name, 2 * due + (1 << 16))
        try:
            whole = self._decode(raw, due)
        except (pa.ArrowException, OSError, RuntimeError, ValueError, zlib.error, EOFError) as error:
            raise ValueError(f"{self.what}: its chunk {name} is damaged ({error}); copy it again") from error
        if len(whole) != due:
            raise ValueError(f"{self.what}: its chunk {name} holds {len(whole)} bytes; {due} are due")
        return np.frombuffer(whole, self.dtype).reshape(self._chunks, order=self._order)

    def _numbers(self, found: dict[str, Any], key: str) -> tuple[int, ...]:
        numbers = found.get(key)
        low = 1 if key == "chunks" else 0
        if not isinstance(numbers, list) or not all(type(n) is int and low <= n < 1 << 48 for n in numbers):
            raise ValueError(f"{self.what} has no {key} such as [1000, 7]")
        return tuple(numbers)

    def _type(self, said: Any) -> np.dtype:
        try:
            kind = np.dtype(said) if isinstance(said, str) and len(said) < 8 else None
        except TypeError:
            kind = None
        if kind is None or kind.kind not in KINDS:
            raise ValueError(f"{self.what} holds {str(said)[:40]}, not numbers")
        return kind

    def _check(self, found: dict[str, Any]) -> None:
        """Refuse arrays that cannot be read, or that claim more than is stored."""
        if not self.shape or len(self.shape) != len(self._chunks) or len(self.shape) > 8:
            raise ValueError(f"{self.what} has shape {self.shape} and chunks {self._chunks}")
        if found.get("filters"):
            raise ValueError(f"{self.what} was filtered, which is not read; save it without filters")
        if self._order not in ("C", "F") or self._separator not in (".", "/"):
            raise ValueError(f"{self.what} has an order or separator that zarr does not know")
        if not isinstance(self._fill, int | float | bool | None):
            raise ValueError(f"{self.what} has the fill value {str(self._fill)[:20]!r}, which is not read")
        chunk = int(np.prod(self._chunks, dtype=object)) * self.dtype.itemsize
        if chunk > UNPACKED:
            raise ValueError(f"{self.what} is in chunks of {chunk >> 20} MiB; write it in smaller ones")
        count = np.prod([-(-n // c) for n, c in zip(self.shape, self._chunks)], dtype=object)
        if count > MOST_CHUNKS:
            raise ValueError(f"{self.what} is in {count} chunks; write it in larger ones")

    def _refuse_bomb(self) -> None:
        """Refuse what becomes far more than is stored; images become bytes, whatever numbers they are."""
        claimed = int(np.prod(self.shape, dtype=object)) * (1 if self._pictures else self.dtype.itemsize)
        refuse_bomb(self._files.path, claimed, self._files.size, "write it without compression")


def read_json(files: Files, name: str) -> dict[str, Any]:
    """Return a JSON object of the store."""
    if name not in files.names:
        raise ValueError(f"{files.path} has no '{name}'")
    try:
        found = json.loads(files.read(name, LARGEST_JSON))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{files.path}: '{name}' is not JSON ({error}); copy it again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{files.path}: '{name}' holds no object; copy it again")
    return found


Decode = Callable[[bytes, int], bytes]  # (content of a chunk, bytes that are due) -> those bytes


def decoder(codec: Any, what: str) -> Decode:
    """Return what unpacks the chunks of an array."""
    name = codec.get("id") if isinstance(codec, dict) else codec
    known: dict[Any, Decode] = {
        None: lambda raw, due: raw,
        "zlib": lambda raw, due: _stream(zlib.decompressobj(), raw, due),
        "gzip": lambda raw, due: _stream(zlib.decompressobj(31), raw, due),
        "bz2": lambda raw, due: _stream(bz2.BZ2Decompressor(), raw, due),
        "zstd": lambda raw, due: bytes(pa.decompress(raw, due, "zstd")),
        "lz4": _lz4, "blosc": _blosc,
    }  # fmt: skip
    if name not in known:
        raise ValueError(
            f"{what} is packed by {str(name)[:40]!r}, which is not read; save it by blosc, lz4, zstd or zlib"
        )
    return known[name]


def _stream(unpacker: Any, raw: bytes, due: int) -> bytes:
    """Unpack a stream, but no more of it than is due and one byte."""
    found = bytes(unpacker.decompress(raw, due + 1))
    if not unpacker.eof and len(found) <= due:
        raise ValueError("it ends too early")
    return found


def _lz4(raw: bytes, due: int) -> bytes:
    """Unpack what numcodecs' LZ4 packed: the size, then one block."""
    if int.from_bytes(raw[:4], "little") != due:
        raise ValueError(f"{due} bytes are due")
    return bytes(pa.decompress(raw[4:], due, "lz4_raw"))


def _blosc(raw: bytes, due: int) -> bytes:
    """Unpack what blosc packed, once its header is known to speak of these bytes."""
    try:
        from numcodecs import blosc
    except ImportError as error:
        raise ImportError(
            f"the arrays are packed by blosc; {install('zarr')} brings what reads it"
        ) from error
    size, packed = int.from_bytes(raw[4:8], "little"), int.from_bytes(raw[12:16], "little")
    if len(raw) < 16 or size != due or packed != len(raw):
        raise ValueError(f"{due} bytes are due")
    return bytes(blosc.decompress(raw))
