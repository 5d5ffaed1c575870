"""CRC-32C (Castagnoli), masked as TFRecord has it, many bytes at a time.

    state' = table[(state ^ byte) & 255] ^ (state >> 8)           masked = rotate_right(crc, 15) + 0xa282ead8

The state is linear in the bytes: lanes are worked through side by side and joined by what so many zeros do.
"""

from __future__ import annotations

from functools import cache

import numpy as np

POLYNOMIAL = 0x82F63B78  # bits in the order in which they arrive
FEW = 4096  # bytes for which one lane is enough
ONES = 0xFFFFFFFF


def masked_crc32c(content: bytes | memoryview) -> int:
    """Return the checksum that a TFRecord holds of its bytes."""
    crc = crc32c(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & ONES


def crc32c(content: bytes | memoryview) -> int:
    """Return the checksum of bytes."""
    if len(content) <= FEW:
        state, table = ONES, _table().tolist()
        for byte in content:
            state = table[(state ^ byte) & 255] ^ (state >> 8)
        return state ^ ONES
    state = _after_zeros(ONES, len(content)) ^ _from_zero(np.frombuffer(content, np.uint8))
    return state ^ ONES


def _from_zero(content: np.ndarray) -> int:
    """Return the state after bytes (n,) from a state of 0, which zeros before them do not change."""
    count = 1 << (len(content).bit_length() // 2 + 2)  # lanes; four times as many as each is long
    length = -(-len(content) // (2 * count))  # of a lane, in pairs of bytes
    lanes = np.zeros(2 * count * length, np.uint8)
    lanes[len(lanes) - len(content) :] = content
    columns = np.ascontiguousarray(lanes.view("<u2").reshape(count, length).T)  # (length, count)
    state, table = np.zeros(count, np.uint32), _table_of_pairs()
    for column in columns:
        state = table.take(state.astype(np.uint16) ^ column) ^ (state >> 16)
    zeros = _zeros(2 * length)
    while len(state) > 1:
        state = _apply(zeros, state[0::2]) ^ state[1::2]
        zeros = _apply(zeros, zeros)
    return int(state[0])


def _after_zeros(state: int, count: int) -> int:
    return int(_apply(_zeros(count), np.array([state], np.uint32))[0])


def _zeros(count: int) -> np.ndarray:
    """Return what so many zero bytes do to the state: the state that each of its bits becomes, (32,)."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    step, found = _table()[bits & 255] ^ (bits >> 8), bits
    while count:
        if count & 1:
            found = _apply(step, found)
        step, count = _apply(step, step), count >> 1
    return found


def _apply(operator: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Apply a linear operator (32,) to states (n,)."""
    found = np.zeros_like(states)
    for bit, image in enumerate(operator):
        found ^= np.where((states >> np.uint32(bit)) & np.uint32(1), image, np.uint32(0))
    return found


@cache
def _table_of_pairs() -> np.ndarray:
    """Return what each pair of bytes does to a state of 0, the first one lowest, (65536,)."""
    pairs, table = np.arange(1 << 16, dtype=np.uint32), _table()
    once = table[pairs & 255] ^ (pairs >> 8)
    return table[once & 255] ^ (once >> 8)


@cache
def _table() -> np.ndarray:
    """Return what each byte does to a state of 0, (256,)."""
    found = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        found = np.where(found & 1, (found >> 1) ^ np.uint32(POLYNOMIAL), found >> 1).astype(np.uint32)
    return found
