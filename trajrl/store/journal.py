"""Journal: online episodes, each durable by itself once `append` returns, whenever the machine stops.

    file     "trajrl journal 1\\n"   record   record   ...
    record   magic (8), number (8), size (8) and hash (16) of the payload, hash of these (8), payload
    payload  size of a JSON header (8 bytes), the header {terminated, success, source, meta, arrays: [[name,
             type, shape], ...]}, the raw numbers of every array; nothing is pickled

A crash tears only the last record: it is too short or its hash is wrong, and the next writer cuts it off and
says so.  A damaged record with whole ones behind it is passed over, and that is said too.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from trajrl.core.atomic_files import sync_folder
from trajrl.core.console import say
from trajrl.core.plain_file import open_to_read, open_to_write
from trajrl.store.episode import Episode
from trajrl.store.hashing import new_hash
from trajrl.store.images import PREFIX

SIZE = struct.Struct("<Q")

NAME = "episodes.journal"
START = b"trajrl journal 1\n"
MAGIC = b"\xf5EPISODE"
FIELDS = struct.Struct("<8sQQ16s")  # magic, number, size, hash of the payload
HEAD_BYTES = FIELDS.size + 8  # and the hash of those
BLOCK_BYTES = 1 << 20


class Place(NamedTuple):
    """Where a whole record lies: its number and the half-open range of its payload."""

    number: int
    start: int
    stop: int


class Journal:
    """The episodes of one run, in a file of its folder; one process writes, any number read."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / NAME
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _open_alone(self.path)
        places = list(_places(self._file, self.path))
        self.num_episodes = (
            places[-1].number + 1 if places else 0
        )  # numbers stay what they are, whatever is damaged
        self._cut(places[-1].stop if places else len(START))

    def append(self, episode: Episode, phase: str = "online", meta: Mapping[str, Any] | None = None) -> int:
        """Write one episode and flush it to disk; returns its number.  `meta` holds plain values."""
        record = _frame(self.num_episodes, encode(episode, {**(meta or {}), "phase": phase}))
        end = self._file.seek(0, os.SEEK_END)
        try:
            _write_all(self._file, record)
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(end)
            raise OSError(
                f"{self.path} could not be written: {error.strerror}; the episode is not kept"
            ) from error
        self.num_episodes += 1
        return self.num_episodes - 1

    def replay(self) -> Iterator[tuple[Episode, dict[str, Any]]]:
        """Yield every whole episode and its meta values, `phase` and `number` among them, in order."""
        yield from replay(self.path)

    def close(self) -> None:
        """Let another process write; a second call does nothing."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cut(self, end: int) -> None:
        """Cut off a record that was torn by a crash."""
        size = self._file.seek(0, os.SEEK_END)
        if size > end:
            say(
                f"{self.path}: {size - end} bytes of an episode that was being written at a crash are cut off"
            )
            self._file.truncate(end)
            os.fsync(self._file.fileno())


def replay(path: Path) -> Iterator[tuple[Episode, dict[str, Any]]]:
    """Yield every whole episode of a journal file and its meta values; the file may be growing."""
    if not path.exists():
        return
    with open_to_read(path) as file:
        for place in _places(file, path):
            file.seek(place.start)
            episode, meta = decode(file.read(place.stop - place.start))
            yield episode, {**meta, "number": place.number}


def _open_alone(path: Path) -> IO[bytes]:
    """Open or start a journal for writing by this process alone."""
    file = open_to_write(path, "change" if os.path.lexists(path) else "begin", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = file.read(len(START))
        if len(found) < len(START) and START.startswith(found):  # new, or torn at its very start
            file.seek(0)
            _write_all(file, START)
            os.fsync(file.fileno())
            sync_folder(path.parent)
    except BlockingIOError:
        file.close()
        raise OSError(f"{path} is being written by another process; a journal has one writer") from None
    except BaseException:
        file.close()
        raise
    return file


def _frame(number: int, payload: bytes) -> bytes:
    """Put a payload into a record."""
    fields = FIELDS.pack(MAGIC, number, len(payload), _hash(payload))
    return fields + _hash(fields)[:8] + payload


def _places(file: IO[bytes], path: Path) -> Iterator[Place]:
    """Yield every whole record in order; what is damaged between two of them is passed over and said."""
    file.seek(0)
    if file.read(len(START)) != START:
        raise ValueError(f"{path} is not a journal of trajrl, or its first bytes are damaged")
    end, position = file.seek(0, os.SEEK_END), len(START)
    while position < end:
        place = _place(file, position, end)
        if place is None:
            place = _next(file, position, end)
            if place is None:
                return  # nothing whole behind it: a torn tail
            lost = place.start - HEAD_BYTES - position
            say(f"{path}: {lost} damaged bytes at {position} are passed over; episode {place.number} follows")
        yield place
        position = place.stop


def _place(file: IO[bytes], position: int, end: int) -> Place | None:
    """Return the record at a position if it is whole."""
    file.seek(position)
    head = file.read(HEAD_BYTES)
    if (
        len(head) < HEAD_BYTES
        or not head.startswith(MAGIC)
        or _hash(head[: FIELDS.size])[:8] != head[FIELDS.size :]
    ):
        return None
    _, number, size, expected = FIELDS.unpack(head[: FIELDS.size])
    start = position + HEAD_BYTES
    if start + size > end:
        return None
    state, left = new_hash(), size
    while left and (block := file.read(min(left, BLOCK_BYTES))):
        state.update(block)
        left -= len(block)
    return Place(number, start, start + size) if not left and state.digest() == expected else None


def _next(file: IO[bytes], position: int, end: int) -> Place | None:
    """Return the first whole record behind a position."""
    while position + 1 < end:
        file.seek(position + 1)
        found = file.read(BLOCK_BYTES).find(MAGIC)
        if found < 0:
            position += BLOCK_BYTES - len(MAGIC)
            continue
        position += 1 + found
        if place := _place(file, position, end):
            return place
    return None


def _hash(block: bytes) -> bytes:
    state = new_hash()
    state.update(block)
    return state.digest()


def _write_all(file: IO[bytes], block: bytes) -> None:
    """Write all of a block: an unbuffered file may take it in parts."""
    view = memoryview(block)
    while view:
        view = view[file.write(view) :]


def encode(episode: Episode, meta: Mapping[str, Any]) -> bytes:
    """Turn an episode and plain values into bytes."""
    arrays = episode.columns
    described = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    facts = {"terminated": episode.terminated, "success": episode.success, "source": episode.source}
    header = json.dumps({**facts, "meta": dict(meta), "arrays": described}, default=_plain).encode()
    return SIZE.pack(len(header)) + header + b"".join(array.tobytes() for array in arrays.values())


def decode(payload: bytes) -> tuple[Episode, dict[str, Any]]:
    """Turn the bytes back; they were checked to be what `encode` made."""
    (size,) = SIZE.unpack_from(payload)
    header = json.loads(payload[SIZE.size : SIZE.size + size])
    arrays, place = {}, SIZE.size + size
    for name, kind, shape in header["arrays"]:
        count = int(np.prod(shape, dtype=int))
        arrays[name] = np.frombuffer(payload, np.dtype(kind), count, place).reshape(shape).copy()
        place += arrays[name].nbytes
    extras, images = (
        {name.removeprefix(kind): array for name, array in arrays.items() if name.startswith(kind)}
        for kind in ("extras/", PREFIX)
    )
    episode = Episode(
        arrays["obs"], arrays["actions"], arrays["rewards"], header["terminated"], header["success"],
        header["source"], extras, images,
    )  # fmt: skip
    return episode, header["meta"]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"the meta values of an episode are plain values; got {type(value).__name__}")
