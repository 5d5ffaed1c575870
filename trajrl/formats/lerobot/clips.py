"""Clips: where the video of an episode lies, and its frames.

v3.0   videos/KEY/chunk-000/file-000.mp4, many episodes in one; the list says from which second to which
v2.1   videos/chunk-000/KEY/episode_000000.mp4, from its beginning
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trajrl.formats.base.resize import Size
from trajrl.formats.lerobot.metadata import Metadata, held
from trajrl.formats.lerobot.video import Video
from trajrl.store.notes import Notes

TEMPLATES = {
    "v2": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    "v3": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
}
FIELD = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")
CHUNK = 1000  # files in a folder, where info.json says nothing
DEPTH = ("video.is_depth_map", "is_depth_map")  # of what info.json says of a video
OFF_TIME = 1e-4  # seconds that LeRobot's own loader allows


class Clip(NamedTuple):
    """Where the frames of one episode lie."""

    path: Path
    first: float  # second of the video at which the episode begins
    stop: float  # and at which it ends; infinite where nothing says


class Clips:
    """The videos of some features; one of each stays open until `close`."""

    def __init__(self, folder: Path, meta: Metadata, notes: Notes, size: Size | None) -> None:
        if not meta.fps:
            raise ValueError(f"{folder}/meta/info.json has no fps, by which frames of a video are found")
        self._folder, self._meta, self._notes, self._size = folder, meta, notes, size
        self._open: dict[str, Video] = {}
        self.read: set[Path] = set()  # the videos that were opened

    def frames(self, key: str, episode: int, times: np.ndarray) -> np.ndarray:
        """Return the frames (T, h, w, 3) of an episode at times (T,), in seconds from its beginning."""
        where, half = f"episode {episode} of {self._folder}", 0.5 / self._meta.fps
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any() or times[0] < -half:
            raise ValueError(f"{where}: its time stamps do not rise, and '{key}' is found by them")
        clip = self._clip(key, episode)
        if clip.first + times[-1] + half > clip.stop + OFF_TIME:
            raise ValueError(
                f"{where}: its list ends '{key}' at {clip.stop:.3f} seconds of {clip.path.name}, its data at"
                f" {clip.first + times[-1]:.3f}: the video is short, or the list is wrong"
            )
        if self._shows_depth(key):
            raise ValueError(
                f"{clip.path} is a video of depth, which is not decoded: leave '{key}' out of --obs-keys, or "
                "write it as PNG of 16 bits, in millimetres"
            )
        video = self._video(key, clip.path)
        due = sorted(self._meta.features[key].shape)
        if sorted(video.shape) != due:
            said = self._meta.features[key].shape
            raise ValueError(f"{clip.path} shows frames of {video.shape}; info.json says {said}")
        found = np.empty((len(times), *(self._size or video.shape[:2]), 3), np.uint8)
        off = np.empty(len(times))
        for row, (frame, far) in enumerate(video.at(clip.first + times, half, self._size)):
            found[row], off[row] = frame, far
        self._notes.add("frames_off_time", int((off > OFF_TIME).sum()), f"episode {episode}, '{key}'")
        return found

    def close(self) -> None:
        """Close all files."""
        for video in self._open.values():
            video.close()
        self._open = {}

    def _shows_depth(self, key: str) -> bool:
        said = self._meta.info["features"][key].get("info")
        return isinstance(said, dict) and any(said.get(name) for name in DEPTH)

    def _video(self, key: str, path: Path) -> Video:
        """Return the open video of a feature."""
        if key not in self._open or self._open[key].path != path:
            if key in self._open:
                self._open.pop(key).close()
            self._open[key] = Video(path)
            self.read.add(path)
        return self._open[key]

    def _clip(self, key: str, episode: int) -> Clip:
        """Return where an episode lies, as the list says."""
        kind, info = self._meta.version[:2], self._meta.info
        numbers: dict[str, int] = {"episode_index": episode}
        first, stop = 0.0, np.inf
        if kind == "v3":
            listed = self._meta.episodes.get(episode)
            clip = (listed.videos or {}).get(key) if listed else None
            if clip is None or not np.isfinite(clip).all():
                raise ValueError(
                    f"{self._folder}: its list does not say where '{key}' of episode {episode} lies"
                )
            numbers |= {"chunk_index": int(clip[0]), "file_index": int(clip[1])}
            first, stop = clip[2], clip[3]
        else:
            size = info.get("chunks_size")
            numbers["episode_chunk"] = episode // (size if type(size) is int and size > 0 else CHUNK)
        template = info.get("video_path") or TEMPLATES[kind]
        path = self._folder / filled(str(template), key, numbers)
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file, which shows '{key}' of episode {episode}")
        return Clip(held(self._folder, path), first, stop)


def filled(template: str, key: str, numbers: Mapping[str, int]) -> str:
    """Put key and numbers into the name of a file; nothing else is looked up in it."""

    def value(found: re.Match[str]) -> str:
        if found[1] == "video_key":
            return key
        if found[1] not in numbers:
            raise ValueError(f"info.json: video_path {template[:80]!r} asks for '{found[1]}'; it is unknown")
        return f"{numbers[found[1]]:0{int(found[2] or 1)}d}"

    return FIELD.sub(value, template)
