"""The footer of a parquet file, read by hand as far as it says how much each column holds.

    FileMetaData { 4: row groups { 1: columns { 3: { 3: path, 5: number of values, 6: bytes unpacked } } } }

in Thrift's compact protocol.  Arrow's own reader ends the process where a footer contradicts itself.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

LARGEST = 64 << 20  # bytes
DEEPEST = 16
TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
WHOLE = (4, 5, 6)  # numbers of 16, 32 and 64 bits


def values_of(path: Path) -> dict[str, int]:
    """Return the number of values of each column; lists count theirs."""
    found: Counter[str] = Counter()
    for group in _groups(path):
        found.update({name: held.values for name, held in group.items()})
    return dict(found)


def bytes_of(path: Path) -> list[dict[str, int]]:
    """Return for each group of rows the bytes that each column unpacks to."""
    return [{name: held.unpacked for name, held in group.items()} for group in _groups(path)]


class Held(NamedTuple):
    """What a column holds in a group of rows."""

    values: int
    unpacked: int  # bytes


def _groups(path: Path) -> list[dict[str, Held]]:
    """Return what the footer says of every column, group by group."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(size - 8)
        length = int.from_bytes(file.read(4), "little")
        if not 0 < length <= min(LARGEST, size - 8):
            raise ValueError(f"{path} has a footer of {length} bytes; copy it again")
        file.seek(size - 8 - length)
        raw = file.read(length)
    try:
        return [_columns(group) for group in _Footer(raw).value(STRUCT, 0).get(4, [])]
    except (IndexError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: its footer cannot be read; copy it again") from error


def _columns(group: dict[int, Any]) -> dict[str, Held]:
    """Return what a group holds of each column; two of one name count together."""
    values: Counter[str] = Counter()
    unpacked: Counter[str] = Counter()
    for column in group.get(1, []):
        said = column.get(3, {})
        name = b".".join(said.get(3, [])).decode("utf-8", "replace")
        values[name] += int(said.get(5, 0))
        unpacked[name] += int(said.get(6, 0))
    return {name: Held(values[name], unpacked[name]) for name in values}


class _Footer:
    """A place in bytes, from which values are read forward."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._at = raw, 0

    def value(self, kind: int, depth: int) -> Any:
        """Read one value of a kind; a structure becomes number of a field -> value."""
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        if kind in WHOLE:
            number = self._varint()
            return (number >> 1) ^ -(number & 1)
        if kind in (BYTE, TRUE, FALSE):  # in a list; a field that is true or false has no bytes
            return self._take(1)[0]
        if kind == DOUBLE:
            return self._take(8)
        if kind == BINARY:
            return self._take(self._varint())
        if kind in (LIST, SET):
            head = self._take(1)[0]
            return [self.value(head & 15, depth + 1) for _ in range(self._count(head >> 4))]
        if kind == MAP:
            return self._map(depth)
        if kind == STRUCT:
            return self._struct(depth)
        raise ValueError("it holds a type that does not exist")

    def _struct(self, depth: int) -> dict[int, Any]:
        found: dict[int, Any] = {}
        number = 0
        while head := self._take(1)[0]:
            number = number + (head >> 4) if head >> 4 else self.value(WHOLE[0], depth)
            kind = head & 15
            found[number] = kind == TRUE if kind in (TRUE, FALSE) else self.value(kind, depth + 1)
        return found

    def _map(self, depth: int) -> dict[Any, Any]:
        count = self._count(15)
        kinds = self._take(1)[0] if count else 0
        pairs = [(self.value(kinds >> 4, depth + 1), self.value(kinds & 15, depth + 1)) for _ in range(count)]
        return {key: value for key, value in pairs if not isinstance(key, dict | list)}

    def _count(self, short: int) -> int:
        """Return the length of a list: each of its values takes a byte at least."""
        count = self._varint() if short == 15 else short
        if count > len(self._raw) - self._at:
            raise ValueError("it ends too early")
        return count

    def _varint(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._take(1)[0]
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise ValueError("a number does not end")

    def _take(self, count: int) -> bytes:
        if count > len(self._raw) - self._at:
            raise ValueError("it ends too early")
        self._at += count
        return self._raw[self._at - count : self._at]
