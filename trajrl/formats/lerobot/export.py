"""A store as a LeRobot set: version 3.0, many episodes in a file, or 2.1, a file for each.

    observation.state (or the keys it came with), action, next.reward, next.done, next.truncated, next.success
    task = source                                  other columns: extra.NAME
    images: observation.images.NAME or the name they came with, PNG in the data, or videos if asked

LeRobot has no place for the observation after the last action: it is left, with how the episode ended, in the
set's own list of episodes, and trajrl reads it there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.core.atomic_files import new_folder, require_space, said
from trajrl.formats.base.episode_table import attributes_of
from trajrl.formats.base.exporter import Span, observations, rate_of, size_on_disk, spans, steps
from trajrl.formats.lerobot.listing import LISTINGS
from trajrl.formats.lerobot.stats import Total, stats_of
from trajrl.formats.lerobot.write_images import FinalImages, ImageColumns, encoded, sampled
from trajrl.formats.lerobot.write_videos import PATHS, VideoFiles, require_filmable
from trajrl.formats.lerobot.writer import CHUNK, VERSIONS, FrameFiles
from trajrl.store.store import TrajectoryStore

FPS = 10  # where nothing says how often the robot was asked
NO_TASK = "no task is named"


def write_lerobot(store: TrajectoryStore, path: Path, filmed: bool = False, version: str = "v3.0") -> None:
    """Write the folder; it appears whole or not at all.

    Args:
        filmed: images are videos
    """
    if filmed:
        require_filmable(store.image_shapes)
    with new_folder(path) as folder, said(path):
        require_space(folder / "room", size_on_disk(store))
        _write(store, folder, version, filmed)


def write_lerobot21(store: TrajectoryStore, path: Path, filmed: bool = False) -> None:
    """Write a set of version 2.1."""
    write_lerobot(store, path, filmed, "v2.1")


def _write(store: TrajectoryStore, folder: Path, version: str, filmed: bool) -> None:
    """Write data, then what describes them."""
    frames = Frames(store, filmed)
    totals: dict[str, Total] = {}
    meta, count = folder / "meta", 0
    with (
        FrameFiles(folder, version) as files,
        LISTINGS[version](meta, frames.tasks) as listing,
        FinalImages(meta) as finals,
        VideoFiles(folder, version, frames.fps) as videos,
    ):
        for number, span in enumerate(spans(store)):
            columns, shown = frames.columns(span, number), frames.shown.of(span)
            acted = {name: rows[:-1] for name, rows in shown.items()}
            place = files.write(columns, {} if filmed else {n: encoded(rows) for n, rows in acted.items()})
            place |= videos.write(number, acted) if filmed else {}
            finals.write(number, {name: rows[-1:] for name, rows in shown.items()})
            seen = columns | {name: sampled(rows) for name, rows in acted.items()}
            stats = {name: stats_of(rows) for name, rows in seen.items()}
            for name, rows in seen.items():
                totals.setdefault(name, Total()).add(rows, stats[name])
            task = frames.tasks[int(columns["task_index"][0])]
            row = {"episode_index": number, "tasks": [task], "length": span.length, **place}
            listing.add(row, stats, frames.own(span))
            count += 1
    if version == "v3.0":
        stats_of_set = {name: total.plain() for name, total in totals.items()}
        (meta / "stats.json").write_text(json.dumps(stats_of_set, indent=4))
    (meta / "info.json").write_text(json.dumps(frames.info(version, count), indent=4))
    (meta / "trajrl.json").write_text(json.dumps(frames.own_of_set()))


class Frames:
    """The frames of a store as LeRobot names them."""

    def __init__(self, store: TrajectoryStore, filmed: bool) -> None:
        self.store, self.row, self.filmed = store, 0, filmed
        provenance = store.attributes.get("provenance")
        provenance = provenance if isinstance(provenance, dict) else {}
        found = provenance.get("versions")
        self.known: dict[str, Any] = found if isinstance(found, dict) else {}
        self.keys = _keys(provenance.get("obs_keys"), store.obs_dim)
        live = store.live
        self.sources = sorted(set(store.table.source[live].tolist()))
        self.tasks = [name or NO_TASK for name in self.sources]
        self._numbers = {name: number for number, name in enumerate(self.sources)}
        self.judged = bool((store.table.success[live] >= 0).all())
        self.shown = ImageColumns(store)
        self.extras = dict(zip(_feature_names(store.extras), store.extras))
        self.fps = rate_of(store) or FPS

    def columns(self, span: Span, number: int) -> dict[str, np.ndarray]:
        """Return the columns of one episode, (T, ...) each."""
        store, length = self.store, span.length
        obs, last = observations(store, span), np.arange(length) == length - 1
        found = {key: obs[:-1, first:stop] for key, first, stop in self.keys}
        found |= {
            "action": steps(store.actions, span), "next.reward": steps(store.rewards, span),
            "next.done": last, "next.truncated": last & (not span.terminated),
        }  # fmt: skip
        if self.judged:
            found["next.success"] = last & (store.table.success[span.episode] == 1)
        found |= {name: steps(store.extras[extra], span) for name, extra in self.extras.items()}
        frame = np.arange(length)
        task = self._numbers[store.table.source_of(span.episode)]
        found |= {
            "timestamp": (frame / self.fps).astype(np.float32), "frame_index": frame,
            "episode_index": np.full(length, number), "index": self.row + frame,
            "task_index": np.full(length, task),
        }  # fmt: skip
        self.row += length
        return {name: _frame_shape(rows) for name, rows in found.items()}

    def own(self, span: Span) -> dict[str, Any]:
        """Return what LeRobot has no place for."""
        table = self.store.table
        return {
            "terminated": span.terminated, "success": int(table.success[span.episode]),
            "source": self._numbers[table.source_of(span.episode)],
            "final": observations(self.store, span)[-1].tolist(),
        }  # fmt: skip

    def own_of_set(self) -> dict[str, Any]:
        """Return the same of the whole set."""
        shapes = {
            feature: {"name": name, "shape": list(self.store.extras[name].width)}
            for feature, name in self.extras.items()
        }
        found = {"attributes": attributes_of(self.store), "sources": self.sources, "extras": shapes}
        return found | ({"images": self.shown.features} if self.shown.features else {})

    def info(self, version: str, episodes: int) -> dict[str, Any]:
        """Return info.json."""
        first = self.columns(next(spans(self.store)), 0)
        names = self.known.get("names")
        features = {
            name: {
                "dtype": str(rows.dtype), "shape": list(rows.shape[1:]) or [1],
                "names": names.get(name) if isinstance(names, dict) else None,
            } for name, rows in first.items()
        }  # fmt: skip
        fps = int(self.fps) if self.fps == int(self.fps) else self.fps
        features |= self.shown.described(fps if self.filmed else 0)
        kept = {"codebase_version": version, "robot_type": self.known.get("robot_type")}
        counts = {
            "total_episodes": episodes, "total_frames": self.store.num_steps, "total_tasks": len(self.tasks),
            "chunks_size": CHUNK, "fps": fps, "splits": {"train": f"0:{episodes}"},
        }  # fmt: skip
        counts |= VERSIONS[version](episodes)
        if self.filmed and version == "v2.1":
            counts["total_videos"] = episodes * len(self.shown.features)
        return kept | counts | {"video_path": PATHS[version] if self.filmed else None, "features": features}


def _keys(widths: Any, obs_dim: int) -> list[tuple[str, int, int]]:
    """Return name, first and last column of every observation, as the data came; else observation.state."""
    if not obs_dim:
        return []
    named = isinstance(widths, dict) and all(str(name).startswith("observation.") for name in widths)
    if not named or sum(widths.values()) != obs_dim:
        return [("observation.state", 0, obs_dim)]
    edges = np.cumsum([0, *widths.values()]).tolist()
    return list(zip(widths, edges[:-1], edges[1:]))


def _feature_names(names: Any) -> Iterator[str]:
    """Yield a feature's name for each further column: LeRobot admits no slash in one."""
    taken: set[str] = set()
    for name in names:
        feature = f"extra.{name.replace('/', '.')}"
        while feature in taken:
            feature += "_"
        taken.add(feature)
        yield feature


def _frame_shape(rows: np.ndarray) -> np.ndarray:
    """Return rows as LeRobot stores them: one number for each frame has no axis."""
    return rows.reshape(len(rows)) if rows.shape[1:] == (1,) else rows
