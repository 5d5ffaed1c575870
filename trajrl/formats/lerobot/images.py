"""The images that frames show: of columns, block by block, and of videos, episode by episode."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np

from trajrl.formats.base.columns import BLOCK_BYTES
from trajrl.formats.base.episode_images import refuse_large
from trajrl.formats.base.options import Options
from trajrl.formats.lerobot.clips import Clips
from trajrl.formats.lerobot.encoded import decoded
from trajrl.formats.lerobot.final_images import LastImages
from trajrl.formats.lerobot.frames import Columns, Piece
from trajrl.formats.lerobot.layout import Layout
from trajrl.formats.lerobot.metadata import Metadata
from trajrl.store.notes import Notes

MOST_ROWS = 1 << 16  # of a block


class Images:
    """The images of a set; use as a context manager."""

    def __init__(self, folder: Path, meta: Metadata, layout: Layout, options: Options, notes: Notes) -> None:
        size = options.size
        self._layout, self._size, self._options, self._notes = layout, size, options, notes
        self._shapes = {name: meta.features[name].shape for name in layout.shown}
        self._clips = Clips(folder, meta, notes, size) if layout.videos else None
        self._fps = meta.fps
        self._last = LastImages(folder, self._shapes, options, notes)
        own = meta.own.get("images")
        self._names = {k: str(v) for k, v in own.items()} if isinstance(own, dict) else {}

    @property
    def frame_bytes(self) -> int:
        """Return the bytes of all images of a frame, at most."""
        return sum(map(self._bytes, self._layout.shown))

    @property
    def rows(self) -> int:
        """Return how many rows of the data make a block."""
        packed = sum(map(self._bytes, self._layout.images))
        return max(1, min(MOST_ROWS, BLOCK_BYTES // max(1, packed)))

    @property
    def files(self) -> list[Path]:
        """Return the videos that were read."""
        return sorted(self._clips.read) if self._clips else []

    def decode(self, file: Path, block: Columns, first: int) -> dict[str, np.ndarray]:
        """Return the images (n, h, w, c) of a block whose first row has this number in its file."""
        return {
            name: decoded(
                block[name], f"{file}: '{name}'", first, self._shapes[name], self._options, self._notes
            )
            for name in self._layout.images
        }

    def of(self, piece: Piece) -> dict[str, np.ndarray]:
        """Return all images (T, h, w, c) of a piece."""
        columns = piece.columns
        found = {name: columns[name] for name in self._layout.images}
        if self._clips:
            refuse_large(f"episode {piece.number}", len(columns["frame_index"]), self.frame_bytes)
            times = columns.get("timestamp", columns["frame_index"] / self._fps)
            times = times.reshape(len(times)).astype(np.float64)
            for name in self._layout.videos:
                found[name] = self._clips.frames(name, piece.number, times)
        return {name: found[name] for name in self._layout.shown}

    def after(self, episode: int) -> dict[str, np.ndarray] | None:
        """Return the images (1, h, w, c) that trajrl left of what followed the last action; None: no such."""
        return self._last.of(episode) if self._shapes else {}

    def named(self, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return images under the names that they had in the store that trajrl exported."""
        return {self._names.get(name, name): frames for name, frames in found.items()}

    def __enter__(self) -> Images:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._clips:
            self._clips.close()

    def _bytes(self, name: str) -> int:
        """Return the bytes of one image, at most."""
        if self._size:
            return 4 * self._size[0] * self._size[1]
        return int(np.prod(self._shapes[name], dtype=object))
