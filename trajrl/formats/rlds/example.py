"""tf.train.Example and SequenceExample, read from their bytes: name of a feature -> its numbers or texts.

    Example          1: Features { 1: entry { 1: name, 2: Feature } }
    SequenceExample  1: the same, 2: FeatureLists { 1: entry { 1: name, 2: FeatureList { 1: Feature } } }
    Feature          1: BytesList, 2: FloatList, 3: Int64List, each { 1: values }

Texts and images stay a view of the record: nothing of them is copied.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
MOST_FEATURES = 10_000

Values = np.ndarray | list[memoryview]


def features_of(record: bytes) -> dict[str, Values]:
    """Return the features of a record; those of a FeatureList are put one behind another."""
    found: dict[str, Values] = {}
    for number, _, part in _fields(memoryview(record)):
        for entry_number, _, entry in _fields(_message(part)):
            if entry_number != 1 or number > 2:
                continue
            name, value = _entry(_message(entry))
            if len(found) >= MOST_FEATURES:
                raise ValueError(f"a record has more than {MOST_FEATURES} features")
            found[name] = _feature(value) if number == 1 else _feature_list(value)
    return found


def _entry(entry: memoryview) -> tuple[str, memoryview]:
    """Return key and value of an entry of a map."""
    name, value = "", memoryview(b"")
    for number, _, part in _fields(entry):
        if number == 1:
            name = bytes(_message(part)).decode("utf-8", "replace")
        elif number == 2:
            value = _message(part)
    return name, value


def _feature_list(content: memoryview) -> Values:
    """Return the values of all features of a list, one behind another."""
    parts = [_feature(_message(part)) for number, _, part in _fields(content) if number == 1]
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts) and arrays:
        return np.concatenate(arrays)
    return [text for part in parts if not isinstance(part, np.ndarray) for text in part]


def _feature(content: memoryview) -> Values:
    """Return the values of one feature."""
    for number, _, part in _fields(content):
        if number == 1:
            return [_message(text) for n, _, text in _fields(_message(part)) if n == 1]
        if number == 2:
            return _floats(_message(part))
        if number == 3:
            return _integers(_message(part))
    return np.zeros(0, np.float32)


def _floats(content: memoryview) -> np.ndarray:
    """Return the numbers of a FloatList, packed or one by one."""
    parts = []
    for number, wire, part in _fields(content):
        if number == 1 and wire in (BYTES, FIXED32) and isinstance(part, memoryview):
            if len(part) % 4:
                raise ValueError("a list of floats ends in the middle of one")
            parts.append(np.frombuffer(part, "<f4"))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _integers(content: memoryview) -> np.ndarray:
    """Return the numbers of an Int64List, packed or one by one."""
    parts = []
    for number, _, part in _fields(content):
        if number == 1:
            if isinstance(part, int):
                parts.append(np.array([part], np.uint64))
            else:
                parts.append(_varints(np.frombuffer(part, np.uint8)))
    return np.concatenate(parts).view(np.int64) if parts else np.zeros(0, np.int64)


def _varints(raw: np.ndarray) -> np.ndarray:
    """Return the numbers that bytes (n,) hold in groups of seven bits, the lowest first, (m,) uint64."""
    last = raw < 128
    if not len(raw) or last.all():
        return raw.astype(np.uint64)
    stops = np.flatnonzero(last) + 1
    if not last[-1] or np.diff(np.append(0, stops)).max() > 10:
        raise ValueError("a whole number is damaged")
    starts = np.append(0, stops[:-1])
    place = np.arange(len(raw)) - np.repeat(starts, stops - starts)
    bits = (raw & 127).astype(np.uint64) << (7 * place).astype(np.uint64)  # bits past the 64th fall off
    return np.bitwise_or.reduceat(bits, starts)


def _fields(content: memoryview) -> Iterator[tuple[int, int, memoryview | int]]:
    """Yield number, wire type and content of the fields of a message."""
    place, end = 0, len(content)
    while place < end:
        tag, place = _varint(content, place)
        wire = tag & 7
        if wire == VARINT:
            value, place = _varint(content, place)
            yield tag >> 3, wire, value
            continue
        if wire == BYTES:
            length, place = _varint(content, place)
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"a record has a field of wire type {wire}: it holds no tf.train.Example")
        if length > end - place:
            raise ValueError("a record ends in the middle of a field: it holds no tf.train.Example")
        yield tag >> 3, wire, content[place : place + length]
        place += length


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    """Return the number at a place, and the place behind it."""
    value = 0
    for count in range(10):
        if place >= len(content):
            break
        byte = content[place]
        place += 1
        value |= (byte & 127) << (7 * count)
        if byte < 128:
            return value & (1 << 64) - 1, place
    raise ValueError("a record ends in the middle of a number: it holds no tf.train.Example")


def _message(part: memoryview | int) -> memoryview:
    """Return the content of a field that must hold bytes."""
    if isinstance(part, int):
        raise ValueError("a record has a number where a message is due: it holds no tf.train.Example")
    return part
