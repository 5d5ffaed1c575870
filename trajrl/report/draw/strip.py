"""Frames side by side as one small PNG, written without a library: what a page holds as it is.

Large frames become the means of squares of pixels; gaps between frames are transparent, for light and dark.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

MOST_SIDE = 80  # pixels of a frame's longer side
GAP = 6  # pixels between frames
SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">IIBBBBB")  # width, height, bits, colour type, packing, filter, interlace
RGBA, PLAIN, LEFT = 6, 0, 1  # a colour type of PNG, and two filters of a row


def side_by_side(frames: np.ndarray, most_side: int = MOST_SIDE) -> np.ndarray:
    """Return frames (n, height, width, channels) from left to right, (h, n (w + gap) - gap, 4) with alpha."""
    shown = coloured(smaller(frames, most_side))  # (n, h, w, 3)
    count, height, width = shown.shape[:3]
    strip = np.zeros((height, count * (width + GAP) - GAP, 4), np.uint8)
    for place, frame in enumerate(shown):
        left = place * (width + GAP)
        strip[:, left : left + width, :3] = frame
        strip[:, left : left + width, 3] = 255
    return strip


def smaller(frames: np.ndarray, most_side: int) -> np.ndarray:
    """Return frames whose longer side is at most `most_side`, by means over squares; a rest is cut off."""
    side = -(-max(frames.shape[1:3]) // most_side)
    if side == 1:
        return frames
    count, height, width, channels = frames.shape
    high, wide = max(1, height // side), max(1, width // side)
    down, across = min(side, height), min(side, width)  # of one square; a frame may be thinner than it
    squares = frames[:, : high * down, : wide * across].reshape(count, high, down, wide, across, channels)
    return squares.mean((2, 4)).round().astype(np.uint8)


def coloured(frames: np.ndarray) -> np.ndarray:
    """Return the first three channels of frames (n, h, w, channels); fewer than three are one grey."""
    return frames[..., :3] if frames.shape[-1] >= 3 else np.repeat(frames[..., :1], 3, axis=-1)


def png(image: np.ndarray) -> bytes:
    """Return an image (height, width, 4) of bytes as a PNG, by the filter that packs it smaller."""
    height, width = image.shape[:2]
    moved = image.copy()
    moved[:, 1:] -= image[:, :-1]  # every byte less that of the pixel to its left, modulo 256
    packed = min((_packed(rows, kind) for rows, kind in ((image, PLAIN), (moved, LEFT))), key=len)
    header = HEADER.pack(width, height, 8, RGBA, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _packed(image: np.ndarray, kind: int) -> bytes:
    rows = image.reshape(len(image), -1)
    return zlib.compress(np.pad(rows, ((0, 0), (1, 0)), constant_values=kind).tobytes(), 9)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
