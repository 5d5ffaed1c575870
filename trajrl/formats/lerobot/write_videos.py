"""Images of a store as LeRobot's videos, in h264, one of its own codecs: decoded they are near, not equal.

v3.0   videos/KEY/chunk-000/file-000.mp4, many episodes in one, 200 MB each or a little more
v2.1   videos/chunk-000/KEY/episode_000000.mp4

    frame i of a file is shown at i / fps; an episode of T frames that begins at frame i ends at (i + T) / fps
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from trajrl.core.extras import install
from trajrl.formats.lerobot.writer import CHUNK

VIDEO_BYTES = 200 << 20
ENCODER, CODEC, PIXELS = "libx264", "h264", "yuv420p"
QUALITY = {"g": "2", "crf": "23"}  # every second frame is whole, so that any is found soon
FINEST = 1 << 16  # denominator of a rate
PATHS = {
    "v2.1": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    "v3.0": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
}


def require_filmable(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse images that a video does not hold, and to begin without what encodes."""
    for name, (height, width, channels) in shapes.items():
        if channels != 3 or height % 2 or width % 2:
            raise ValueError(
                f"a video has three colours and even sides, and '{name}' of the store is {height}x{width} of "
                f"{channels} channels: leave --video out, and images are written as they are"
            )
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise ImportError(f"videos are encoded by PyAV: {install('video')}") from error


class VideoFiles:
    """The videos of a set, one of each feature open; use as a context manager."""

    def __init__(self, folder: Path, version: str, fps: float) -> None:
        self._folder, self._version, self._rate = folder, version, Fraction(fps).limit_denominator(FINEST)
        self._films: dict[str, Film] = {}
        self._files: dict[str, int] = {}  # number of the open file of a feature

    def write(self, number: int, shown: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Write the frames (T, h, w, 3) of an episode; returns where they lie, for the list of version 3."""
        place: dict[str, Any] = {}
        for key, frames in shown.items():
            film = self._film(key, number, frames.shape[1:3])
            first = film.count
            for frame in frames:
                film.add(frame)
            file = self._files[key]
            place |= {
                f"videos/{key}/chunk_index": file // CHUNK, f"videos/{key}/file_index": file % CHUNK,
                f"videos/{key}/from_timestamp": float(first / self._rate),
                f"videos/{key}/to_timestamp": float(film.count / self._rate),
            }  # fmt: skip
        return {} if self._version == "v2.1" else place

    def __enter__(self) -> VideoFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as closed:
            for film in self._films.values():
                closed.callback(film.close)

    def _film(self, key: str, episode: int, size: tuple[int, ...]) -> Film:
        """Return the video that an episode goes to."""
        film, file = self._films.get(key), self._files.get(key, 0)
        if film is not None and self._version != "v2.1" and film.bytes < VIDEO_BYTES:
            return film
        if film is not None:
            film.close()
            file += 1
        numbers = {"episode_chunk": episode // CHUNK, "episode_index": episode}
        numbers |= {"chunk_index": file // CHUNK, "file_index": file % CHUNK}
        path = self._folder / PATHS[self._version].format(video_key=key, **numbers)
        self._films[key], self._files[key] = Film(path, size, self._rate), file
        return self._films[key]


class Film:
    """One mp4 file that is being encoded."""

    def __init__(self, path: Path, size: tuple[int, ...], rate: Fraction) -> None:
        import av

        self.count, self.bytes, self._of_array = 0, 0, av.VideoFrame.from_ndarray
        path.parent.mkdir(parents=True, exist_ok=True)
        opened: Any = av.open(str(path), "w", format="mp4")
        self._container, self._stream = opened, opened.add_stream(ENCODER, rate=rate, options=QUALITY)
        self._stream.height, self._stream.width, self._stream.pix_fmt = *size, PIXELS

    def add(self, frame: np.ndarray) -> None:
        """Encode a frame (h, w, 3)."""
        picture = self._of_array(np.ascontiguousarray(frame), format="rgb24")
        picture.pts, picture.time_base = self.count, 1 / self._stream.average_rate
        self._write(self._stream.encode(picture))
        self.count += 1

    def close(self) -> None:
        """Encode what is held back, and write the index of the file; a second call does nothing."""
        if self._container is not None:
            self._write(self._stream.encode())
            self._container.close()
            self._container = None

    def _write(self, packets: Sequence[Any]) -> None:
        self._container.mux(packets)
        self.bytes += sum(packet.size for packet in packets)


def described(shape: tuple[int, ...], fps: float) -> dict[str, Any]:
    """Return what info.json says of a video."""
    height, width, channels = shape
    return {
        "video.height": height, "video.width": width, "video.codec": CODEC, "video.pix_fmt": PIXELS,
        "video.is_depth_map": False, "video.fps": fps, "video.channels": channels, "has_audio": False,
    }  # fmt: skip
