"""Images of a store as LeRobot writes them: PNG in a column of the data, and what followed the last action.

LeRobot has no place for that: it lies in meta/trajrl_final.parquet, a row for each episode, for trajrl alone.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from trajrl.formats.base.exporter import Span, images
from trajrl.formats.lerobot.write_videos import described as film_of
from trajrl.store.store import TrajectoryStore

FINAL = "trajrl_final.parquet"
ENCODED = pa.struct([("bytes", pa.binary()), ("path", pa.string())])  # as `datasets` has images
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
SEEN, SIDE = 100, 150  # frames of an episode, and pixels of a side, that statistics look at


class ImageColumns:
    """The images of a store under LeRobot's names."""

    def __init__(self, store: TrajectoryStore) -> None:
        self._store = store
        self.features = features_of(store.images)
        for name, (_, _, channels) in store.image_shapes.items():
            if channels not in MODES:
                raise ValueError(
                    f"LeRobot's images have 1 to 4 channels; '{name}' of the store has {channels}"
                )

    def of(self, span: Span) -> dict[str, np.ndarray]:
        """Return the images (T+1, h, w, c) of an episode, by feature."""
        return {feature: images(self._store.images[name], span) for feature, name in self.features.items()}

    def described(self, fps: float = 0) -> dict[str, Any]:
        """Return what info.json says of them.

        Args:
            fps: of the videos that they become; 0: they stay images
        """
        found: dict[str, Any] = {}
        for feature, name in self.features.items():
            shape = self._store.image_shapes[name]
            kind = {"dtype": "video", "info": film_of(shape, fps)} if fps else {"dtype": "image"}
            found[feature] = {"shape": list(shape), "names": ["height", "width", "channels"], **kind}
        return found


class FinalImages:
    """The file of last images, written as they come; use as a context manager."""

    def __init__(self, meta: Path) -> None:
        self._path = meta / FINAL
        self._writer: pq.ParquetWriter | None = None

    def write(self, number: int, last: dict[str, np.ndarray]) -> None:
        """Write the images (1, h, w, c) after the last action of an episode."""
        if not last:
            return
        columns = {feature: encoded(frames) for feature, frames in last.items()}
        table = pa.table({"episode_index": pa.array([number]), **columns})
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)

    def __enter__(self) -> FinalImages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()


def features_of(images: Iterable[str]) -> dict[str, str]:
    """Return which image each feature is; two images of one name there are refused."""
    found: dict[str, str] = {}
    for name in images:
        feature = feature_of(name)
        if feature in found:
            raise ValueError(
                f"images '{found[feature]}' and '{name}' of the store would both be LeRobot's '{feature}'; "
                "import it again with only one of them in --obs-keys"
            )
        found[feature] = name
    return found


def feature_of(name: str) -> str:
    """Return LeRobot's name of an image: its own where it came from there."""
    return name if name.startswith("observation.") else f"observation.images.{name}"


def encoded(frames: np.ndarray) -> pa.Array:
    """Return images (n, h, w, c) as a column of PNG."""
    cells = []
    for frame in frames:
        out = io.BytesIO()
        Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame, MODES[frame.shape[2]]).save(
            out, "PNG"
        )
        cells.append({"bytes": out.getvalue(), "path": None})
    return pa.array(cells, ENCODED)


def sampled(frames: np.ndarray) -> np.ndarray:
    """Return pixels (n, c, 1, 1) from 0 to 1, of some places of some frames (T, h, w, c)."""
    step, stride = -(-len(frames) // SEEN), max(1, max(frames.shape[1:3]) // SIDE)
    pixels = frames[::step, ::stride, ::stride].astype(np.float32) / 255
    return pixels.reshape(-1, frames.shape[3], 1, 1)
