"""LeRobot data sets of versions 2.0, 2.1 and 3.0: frames in parquet files, episodes by `episode_index`.

    meta/info.json    data/chunk-*/episode_*.parquet (2), file-*.parquet of many episodes (3)

T frames hold T observations and T actions: an end gives up its last action, unless it is a termination.
terminated = done and not truncated, where next.truncated is there, else done and success, in the last frame;
success = any next.success.  source = the task.  Images and videos are left where they are, unless --obs-keys
names them: then they become images of the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.formats.base.columns import narrow
from trajrl.formats.base.options import Options
from trajrl.formats.base.source import Labelled, Source
from trajrl.formats.lerobot.frames import Columns, Piece, pieces
from trajrl.formats.lerobot.images import Images
from trajrl.formats.lerobot.layout import FRAMES, INDICES, layout_of
from trajrl.formats.lerobot.metadata import Listed, Own, held, read_metadata
from trajrl.formats.lerobot.outcome import outcome_of
from trajrl.formats.lerobot.parquet import batches
from trajrl.formats.npz.folder import natural
from trajrl.store.episode import Episode

OFF_BEAT = 0.1  # of the time between two frames


class LeRobot(Source):
    """One data set: its folder."""

    format = "lerobot"

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__(path, options)
        if options.ends == "resets":
            raise ValueError("the option ends=resets is for flat columns; LeRobot numbers its episodes")
        if not path.is_dir():
            raise ValueError(f"{path} is a file; a LeRobot set is a folder with meta/info.json")
        self.folder = path
        self.meta = read_metadata(self.folder)
        found = self.folder.glob("data/**/*.parquet")
        order = sorted(found, key=lambda file: [natural(Path(part)) for part in file.parts])
        self.files = [held(self.folder, file) for file in order]
        if not self.files:
            raise ValueError(f"{self.folder} has no data/chunk-000/*.parquet; download or copy it again")
        self.layout = layout_of(self.files[0], self.meta.features, options.obs_keys)
        self.widths: dict[str, int] = {}
        self._videos: list[Path] = []  # that were read
        self.count = len(self.meta.episodes) or None
        self._read_origin()

    @property
    def label(self) -> str:
        """Return the name of the folder."""
        return self.options.source or self.folder.name

    def parts(self) -> list[Path]:
        """Return the files that were read: videos that were not may be a thousand times as large."""
        described = (file for file in (self.folder / "meta").rglob("*") if file.is_file())
        return [*described, *self.files, *self._videos]

    def reading(self) -> dict[str, Any]:
        """Return options, versions and counts of this reading, with order and widths of the observations."""
        return {**super().reading(), "obs_keys": self.widths}

    def read(self) -> Iterator[Labelled]:
        """Yield the episodes in the order of their frames."""
        self._note_metadata()
        shown = Images(self.folder, self.meta, self.layout, self.options, self.notes)
        with shown:
            yield from self._episodes(shown)
        self._videos = shown.files

    def _episodes(self, shown: Images) -> Iterator[Labelled]:
        """Yield the episodes, and note what the list says otherwise."""
        seen: dict[int, int] = {}  # the last frame of each episode so far
        frames, before, named = 0, -1, self.meta.episodes
        for piece in pieces(self._blocks(shown), shown.frame_bytes):
            length, where = len(piece.columns["episode_index"]), f"episode {piece.number}"
            again, whole = piece.number in seen, piece.last and not piece.frame
            self.notes.add("frame_gaps", int(not piece.last), f"{where}, frame {piece.frame + length - 1}")
            self.notes.add("frame_gaps", int(bool(piece.frame) and not again), f"{where}, frame 0")
            self.notes.add("repeated_numbers", int(again and not piece.frame), where)
            back = piece.frame > 0 and again and (piece.number != before or piece.frame <= seen[piece.number])
            self.notes.add("rows_out_of_order", int(back), f"{where}, frame {piece.frame}")
            self.notes.add("unlisted_episodes", int(self.meta.listed and piece.number not in named), where)
            due = named.get(piece.number, Listed(length))
            short = whole and not again and due.length != length
            self.notes.add("length_mismatches", int(short), f"{where}, {length} frames, {due.length} listed")
            place = piece.columns["index"][0] if "index" in piece.columns else due.first
            wrong = due.first not in (None, place) and not piece.frame and not again
            self.notes.add("misplaced_episodes", int(wrong), f"{where}, index {place}, {due.first} listed")
            seen[piece.number], before = piece.frame + length - 1, piece.number
            frames += length
            episode = self._episode(piece, due.own if whole and due.length == length else None, shown)
            if episode is not None:
                yield episode, {"lerobot_episode": piece.number} if self.layout.frames else {}
        absent = sorted(set(named) - set(seen))
        self.notes.add("absent_episodes", len(absent), f"episode {absent[0]}" if absent else "")
        for name, count in (("total_episodes", len(seen)), ("total_frames", frames)):
            said = self.meta.info.get(name)
            self.notes.add(
                "wrong_totals", int(said != count), f"{name} is {str(said)[:20]}, {count} are there"
            )

    def _blocks(self, shown: Images) -> Iterator[Columns]:
        """Yield the columns of all files in blocks, with what does not fit noted."""
        expected = 0
        for file in self.files:
            layout, first = self.layout, 0
            for block in batches(file, layout.columns, layout.row_bytes, shown.rows, layout.images):
                images = shown.decode(file, block, first)
                first += len(block["episode_index"])
                block = {name: rows for name, rows in block.items() if name not in images}
                self._fit(file, block)
                block = {
                    n: rows.reshape(len(rows)).astype(np.int64) if n in INDICES else rows
                    for n, rows in block.items()
                }
                if "index" in block:
                    due = np.append(expected, block["index"][:-1] + 1)
                    wrong = block["index"] != due
                    where = f"{file.name}, index {int(block['index'][wrong.argmax()])}"
                    self.notes.add("index_gaps", int(wrong.sum()), where)
                    expected = int(block["index"][-1]) + 1
                yield block | images

    def _fit(self, file: Path, block: Columns) -> None:
        """Refuse columns that are not what info.json says of them; note the widths of the observations."""
        for name, rows in block.items():
            feature = self.meta.features.get(name)
            shape, one = rows.shape[1:], ((), (1,))
            if name in (*self.layout.book, *self.layout.outcomes):
                wrong = shape not in one
            else:
                wrong = feature is not None and shape != feature.shape and {shape, feature.shape} != set(one)
            if wrong:
                due = feature.shape if feature is not None else (1,)
                raise ValueError(f"{file}: '{name}' has shape {shape} in each frame; {due} is due")
        self.widths = {name: int(np.prod(block[name].shape[1:])) for name in self.layout.obs}

    def _episode(self, piece: Piece, own: Own | None, shown: Images) -> Episode | None:
        """Return the episode of one piece; None where it has one frame and nothing is known after it."""
        columns, where = piece.columns, f"episode {piece.number}"
        length = kept = len(columns["episode_index"])
        parts = [np.empty((length, 0), np.float32)]
        parts += [narrow(columns[name].reshape(length, -1)) for name in self.layout.obs]
        obs, actions = np.concatenate(parts, axis=1), narrow(columns[self.layout.action].reshape(length, -1))
        images = shown.of(piece)
        self._note_times(piece)
        after = shown.after(piece.number) if own is not None else None
        fits = own is not None and len(own.final) == obs.shape[1] and after is not None
        if own is not None and not (fits and own.source in range(len(self._names))):
            self.notes.add("outdated_ledger", 1, where)
            own = None
        terminated, success, extras = outcome_of(piece, self.layout, self.options, self.notes, self.folder)
        if own is not None:
            terminated, success = own.terminated, own.success
            obs, extras = np.concatenate([obs, own.final[None]]), {}
            images = {name: np.concatenate([rows, (after or {})[name]]) for name, rows in images.items()}
        elif terminated:
            obs = np.concatenate([obs, obs[-1:]])
            images = {name: np.concatenate([rows, rows[-1:]]) for name, rows in images.items()}
            self.notes.add("repeated_last_obs", 1, where)
        else:
            kept -= 1
            self.notes.add("dropped_steps", 1, where)
        if not kept:
            self.notes.add("lost_episodes", 1, where)
            return None
        extras = {name: rows[:kept] for name, rows in {**extras, **self._extras(piece)}.items()}
        source = self._names[own.source] if own is not None else self._task(piece)
        rewards = self._rewards(piece)[:kept]
        images = shown.named(images)
        return Episode(obs, actions[:kept], rewards, terminated, success, source, extras, images)

    def _rewards(self, piece: Piece) -> np.ndarray:
        """Return the rewards (T,); 0 where the set has none, which is said."""
        length = len(piece.columns["episode_index"])
        if "next.reward" in self.layout.outcomes:
            return narrow(piece.columns["next.reward"].reshape(length))
        self.notes.add("no_rewards", length, f"episode {piece.number}")
        return np.zeros(length, np.float32)

    def _extras(self, piece: Piece) -> dict[str, np.ndarray]:
        """Return the further columns; those of trajrl's own get their names and shapes back."""
        length, found = len(piece.columns["episode_index"]), {}
        for name in self.layout.extras:
            rows, (own, shape) = piece.columns[name], self._own_extras.get(name, (name, None))
            fits = shape is not None and int(np.prod([length, *shape], dtype=object)) == rows.size
            found[own] = rows.reshape(length, *shape) if shape is not None and fits else rows
        return found

    def _task(self, piece: Piece) -> str:
        """Return the task of the first frame, else the name of the set."""
        index = piece.columns.get("task_index")
        number = -1 if index is None else int(index.flat[0])
        named = self.meta.tasks.get(number)
        where = f"episode {piece.number}, {'without a task_index' if index is None else f'task {number}'}"
        self.notes.add("unnamed_tasks", int(not named), where)
        return named or self.label

    def _note_times(self, piece: Piece) -> None:
        """Count steps that do not take 1 / fps."""
        times = piece.columns.get("timestamp")
        if times is not None and self.meta.fps:
            beats = np.diff(times.reshape(len(times)).astype(np.float64)) * self.meta.fps
            wrong = ~(np.abs(beats - 1) <= OFF_BEAT)
            where = f"episode {piece.number}, frame {piece.frame + int(wrong.argmax()) if wrong.any() else 0}"
            self.notes.add("time_gaps", int(wrong.sum()), where)

    def _note_metadata(self) -> None:
        """Note what holds for the whole set."""
        for wrong in self.meta.unreadable:
            self.notes.add("unreadable_metadata", 1, wrong)
        self.notes.add("absent_listing", int(self.meta.absent), "meta/episodes")
        fps = self.meta.info.get("fps")
        said = "there is none" if fps is None else f"it is {fps!r:.20}"
        self.notes.add("unknown_rate", int(not self.meta.fps), said)
        for name in self.layout.frames:
            self.notes.add("left_frames", 1, name)
        for name in self.layout.skipped:
            self.notes.add("skipped_members", 1, f"column '{name}'")
        for name in (*self.layout.obs, self.layout.action):
            kind = self.layout.kinds[name]
            self.notes.add("cast_columns", int(kind != np.float32), f"'{name}' is {kind}")

    def _read_origin(self) -> None:
        """Take what the set says of its robot, and what trajrl left in one that it exported."""
        info, features = self.meta.info, self.meta.features
        kept = ("codebase_version", "fps", "robot_type", "video_path")
        self.versions = {name: info[name] for name in kept if info.get(name) is not None}
        names = {name: features[name].names for name in self.layout.columns if name in features}
        self.versions["names"] = {name: said for name, said in names.items() if said}
        if self.layout.frames:  # where they can be found, for whoever decodes them
            shapes = {n: list(features[n].shape) for n in self.layout.frames if features[n].dtype in FRAMES}
            self.versions["frames"] = shapes
        own = self.meta.own
        extras, names_of = own.get("extras"), own.get("sources")
        self._names = [str(name) for name in names_of] if isinstance(names_of, list) else []
        self._own_extras: dict[str, tuple[str, tuple[int, ...] | None]] = {}
        for feature, said in (extras if isinstance(extras, dict) else {}).items():
            shape = said.get("shape") if isinstance(said, dict) else None
            if isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape):
                self._own_extras[feature] = (str(said.get("name", feature)), tuple(shape))
        if "attributes" in own:
            self.restore(str(own["attributes"]))
