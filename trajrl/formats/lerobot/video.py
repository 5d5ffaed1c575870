"""Videos: the frames of an mp4 file at given times, decoded forward, one held at a time.

The frame of a time is the nearest one, as in LeRobot's own loader, and never farther than half a frame.

PyAV decodes.  It is given an open file and one container, so that no file can send it to another.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trajrl.core.damage import DAMAGE, first_line
from trajrl.core.extras import install
from trajrl.core.plain_file import open_to_read
from trajrl.formats.base.encoded_image import MOST_PIXELS
from trajrl.formats.base.resize import Size, resized

WHOLE = "copy it again"
STRICT = {"max_pixels": str(MOST_PIXELS), "err_detect": "explode"}  # else damage is painted over


class Shown(NamedTuple):
    """One frame of a video."""

    seconds: float
    pixels: Any  # PyAV's frame


class Video:
    """One file, read forward; use as a context manager."""

    def __init__(self, path: Path) -> None:
        try:
            import av
        except ImportError as error:
            raise ImportError(f"{path.name} is a video; {install('video')} brings what decodes it") from error
        self.path, self._errors = path, (av.FFmpegError, *DAMAGE)
        self._file = open_to_read(path)
        try:
            self._container = av.open(self._file, mode="r", format="mp4")
            self._stream = self._container.streams.video[0]
            self.shape = (self._stream.height, self._stream.width, 3)
            self._stream.codec_context.options = STRICT
        except self._errors as error:
            self._file.close()
            raise ValueError(f"{path} is no mp4 video that can be read ({_said(error)}); {WHOLE}") from error

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        self._file.close()

    def at(self, seconds: np.ndarray, half: float, size: Size | None) -> Iterator[tuple[np.ndarray, float]]:
        """Yield the frame (h, w, 3) nearest to each time, and how far it is from it.

        Args:
            seconds: rising times (T,) in the video
            half: of the time between two frames; no frame so near is an error
        """
        frames = self._from(float(seconds[0]), half)
        before, after = None, next(frames, None)
        for time in seconds.tolist():
            while after is not None and after.seconds < time:
                before, after = after, next(frames, None)
            near = min((one for one in (before, after) if one), key=lambda one: abs(one.seconds - time))
            if abs(near.seconds - time) > half:
                raise ValueError(
                    f"{self.path} has no frame at {time:.3f} seconds (the nearest is at {near.seconds:.3f}): "
                    f"it is shorter than the data say, or damaged; {WHOLE}"
                )
            yield self._pixels(near, size), abs(near.seconds - time)

    def _from(self, seconds: float, half: float) -> Iterator[Shown]:
        """Yield the frames from a time on, or from before it."""
        first = self._sought(seconds)
        if first is None or first.seconds > seconds + half:  # it is not where the index of the file says
            first = self._sought(0.0)
        if first is None:
            raise ValueError(f"{self.path} has not one frame; {WHOLE}")
        yield first
        while (shown := self._next()) is not None:
            yield shown

    def _sought(self, seconds: float) -> Shown | None:
        """Return the first frame after going to the last whole one before a time."""
        unit = self._stream.time_base
        if unit is None:
            raise self._damaged("it names no unit of time")
        try:
            place = max(int(seconds / unit), self._stream.start_time or 0)
            self._container.seek(place, stream=self._stream, backward=True)
        except self._errors as error:
            raise self._damaged(error) from error
        self._decoded = self._container.decode(self._stream)
        return self._next()

    def _next(self) -> Shown | None:
        try:
            frame = next(self._decoded, None)
        except self._errors as error:
            raise self._damaged(error) from error
        if frame is None:
            return None
        if frame.is_corrupt or frame.time is None:
            raise self._damaged("a frame is not whole")
        if (frame.height, frame.width, 3) != self.shape:
            raise self._damaged(f"a frame is {frame.width} x {frame.height}")
        return Shown(frame.time, frame)

    def _pixels(self, shown: Shown, size: Size | None) -> np.ndarray:
        try:
            return resized(shown.pixels.to_ndarray(format="rgb24"), size)
        except self._errors as error:
            raise self._damaged(error) from error

    def _damaged(self, why: BaseException | str) -> ValueError:
        said = why if isinstance(why, str) else _said(why)
        return ValueError(f"{self.path} is damaged ({said}); {WHOLE}")


def _said(error: BaseException) -> str:
    """Return what PyAV says, without the names that it adds."""
    return str(getattr(error, "strerror", None) or first_line(error))
