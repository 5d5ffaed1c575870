"""Frames in a row: a stream of blocks cut into pieces, each of one episode without a frame missing.

A piece ends where `episode_index` changes, and where `frame_index` is not that of the row before plus one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from trajrl.formats.base.episode_images import refuse_large

Columns = Mapping[str, np.ndarray]  # (n, ...) each


class Piece(NamedTuple):
    """Frames that follow one another."""

    number: int  # of the episode
    frame: int  # of the first row
    last: bool  # no further piece of this episode follows it: another one begins, if only by its frame 0
    columns: Columns  # (T, ...) each


def pieces(blocks: Iterator[Columns], image_bytes: int = 0) -> Iterator[Piece]:
    """Yield the pieces of blocks; at most one episode and one block are held.

    Args:
        image_bytes: of the images that each frame shows
    """
    held: list[Columns] = []
    for block in blocks:
        for run in _runs(block):
            if held and not _follows(held[-1], run):
                yield _joined(held, run)
                held = []
            held.append(run)
            number, count = int(run["episode_index"][0]), sum(len(one["frame_index"]) for one in held)
            refuse_large(f"episode {number}", count, image_bytes)
    if held:
        yield _joined(held, None)


def _runs(block: Columns) -> Iterator[Columns]:
    """Cut one block."""
    number, frame = block["episode_index"], block["frame_index"]
    border = np.flatnonzero((np.diff(number) != 0) | (np.diff(frame) != 1)) + 1
    edges = [0, *border.tolist(), len(number)]
    for start, stop in pairwise(edges):
        yield {name: column[start:stop] for name, column in block.items()}


def _follows(before: Columns, after: Columns) -> bool:
    """Say whether two runs are of one piece."""
    same = before["episode_index"][-1] == after["episode_index"][0]
    return bool(same and before["frame_index"][-1] + 1 == after["frame_index"][0])


def _joined(held: list[Columns], after: Columns | None) -> Piece:
    number = int(held[0]["episode_index"][0])
    columns = {name: np.concatenate([run[name] for run in held]) for name in held[0]}
    last = after is None or int(after["episode_index"][0]) != number or int(after["frame_index"][0]) == 0
    return Piece(number, int(held[0]["frame_index"][0]), last, columns)
