"""RLDS episodes in TFDS records: a folder of shards or one of them, a record an episode, without TensorFlow.

    steps/observation[/KEY], steps/action, steps/reward, steps/is_first, is_last, is_terminal, discount

N steps hold N observations and N - 1 actions: RLDS defines no action and reward in the last.  `--ends flags`
reads them there, as Open X-Embodiment writes them.  terminated = is_terminal of the last step.

Paper: Ramos et al. 2021 (RLDS).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.core.json_file import read_object
from trajrl.formats.base.columns import narrow
from trajrl.formats.base.options import Options
from trajrl.formats.base.source import Labelled, Source
from trajrl.formats.rlds.description import (
    absent_shards,
    features_of_steps,
    promised_records,
    shards,
)
from trajrl.formats.rlds.example import Values, features_of
from trajrl.formats.rlds.images import OBS, STEPS, images_of, named
from trajrl.formats.rlds.tfrecord import records
from trajrl.store.episode import Episode

FLAGS = ("is_first", "is_last", "is_terminal")
USUAL = ("state", "proprio")
TASK = ("language_instruction", f"{OBS}/natural_language_instruction")


class RLDS(Source):
    """One data set: its folder, or one file of it."""

    format = "rlds"

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__(path, options)
        if options.ends == "resets":
            raise ValueError("the option ends=resets is for flat columns; a record of RLDS is an episode")
        self.folder = path if path.is_dir() else path.parent
        self.files = shards(path, options.split) if path.is_dir() else [path]
        if not self.files:
            raise ValueError(f"{path} has no {options.split} files called *.tfrecord*: {_instead(path)}")
        self.features = features_of_steps(self.folder)
        self.promised = promised_records(self.folder, self.files) if path.is_dir() else None
        self.count = self.promised
        self.widths: dict[str, int] = {}
        self._read_origin()

    def parts(self) -> list[Path]:
        """Return the files that were read, of one split."""
        described = (self.folder / name for name in ("features.json", "dataset_info.json"))
        return [*(file for file in described if file.exists()), *self.files]

    def reading(self) -> dict[str, Any]:
        """Return options, versions and counts of this reading, with order and widths of the observations."""
        return {**super().reading(), "obs_keys": self.widths}

    def read(self) -> Iterator[Labelled]:
        """Yield the episodes in order of the shards."""
        absent = absent_shards(self.files) if self.path.is_dir() else 0
        self.notes.add("absent_shards", absent, self.files[0].name)
        count = 0
        for file in self.files:
            for number, record in enumerate(records(file)):
                where = f"{file.name}, record {number}"
                try:
                    episode = self._episode(features_of(record), where)
                except ValueError as error:
                    raise ValueError(f"{file}: record {number}: {error}") from error
                count += 1
                if episode is not None:
                    yield episode, {}
        if self.promised is not None:
            said = f"{count} of {self.promised} are there"
            self.notes.add("absent_episodes", max(0, self.promised - count), said)

    def _episode(self, features: dict[str, Values], where: str) -> Episode | None:
        """Return the episode of one record; None where it has a single step."""
        found = {n.removeprefix(STEPS): v for n, v in features.items() if n.startswith(STEPS)}
        if not found:
            raise ValueError(f"has no 'steps'; it has {', '.join(list(features)[:20]) or 'nothing'}")
        count = self._count(found)
        images = images_of(found, self.features, count, self.options)
        columns = self._columns({n: v for n, v in found.items() if n not in images}, count, where)
        if "action" not in columns:
            wrong = ", ".join(name for name in found if name.startswith("action")) or ", ".join(found)
            raise ValueError(f"has no 'action' of numbers in its steps; it has {wrong}")
        flags = {name: _flag(columns, name, count) for name in FLAGS}
        self._note_flags(flags, where)
        terminated = bool(flags["is_terminal"][-1])
        keys = self._observations(columns, images, found)
        parts = [narrow(columns[key].reshape(count, -1)) for key in keys]
        obs = np.concatenate([np.empty((count, 0), np.float32), *parts], axis=1)
        self.widths = {key.removeprefix(f"{OBS}/"): int(np.prod(columns[key].shape[1:])) for key in keys}
        actions = self._actions(columns, count)
        rewards = self._rewards(columns, count, where)
        kept = count
        if self.options.ends == "flags" and terminated:
            obs = np.concatenate([obs, obs[-1:]])
            images = {name: np.concatenate([rows, rows[-1:]]) for name, rows in images.items()}
            self.notes.add("repeated_last_obs", 1, where)
        else:
            kept -= 1
            self.notes.add("dropped_steps", int(self.options.ends == "flags"), where)
            lost = self.options.ends != "flags" and rewards[-1] != 0
            self.notes.add("last_rewards", int(lost), where)
        if not kept:
            self.notes.add("lost_episodes", 1, where)
            return None
        taken = {*keys, "action", "reward", *FLAGS}
        extras = {name: rows[:kept] for name, rows in columns.items() if name not in taken}
        task = self._task(found)
        source, shown = task or self.label, named(images)
        return Episode(obs, actions[:kept], rewards[:kept], terminated, None, source, extras, shown)

    def _count(self, found: dict[str, Values]) -> int:
        """Return the number of steps."""
        counts = [len(found[name]) for name in (*FLAGS, "reward", "discount") if name in found]
        if not counts or not counts[0]:
            raise ValueError(f"has no steps with is_first, is_last or reward; it has {', '.join(found)}")
        return counts[0]

    def _columns(self, found: dict[str, Values], count: int, where: str) -> dict[str, np.ndarray]:
        """Return the numbers of each step, (N, ...), as far as they are numbers; others are noted."""
        columns = {}
        for name, values in sorted(found.items()):
            known = self.features.get(STEPS + name)
            if not isinstance(values, np.ndarray):
                frames = known is not None and known.kind in ("image", "video")
                if name not in TASK:
                    self.notes.add("left_frames" if frames else "skipped_members", 1, f"{where}, {name}")
                continue
            if not values.size or (name == "terminal" and name not in FLAGS):
                self.notes.add("skipped_members", 1, f"{where}, {name}")
                continue
            shape = known.shape if known is not None else None
            width, left = divmod(len(values), count)
            if left or (shape is not None and width != int(np.prod(shape, dtype=object))):
                due = f"{count} x {list(shape)}" if shape is not None else f"a multiple of {count}"
                raise ValueError(f"'{name}' has {len(values)} numbers for {count} steps; {due} are due")
            rows = values.reshape(count, *(shape if shape is not None else (width,) if width > 1 else ()))
            if known is not None and known.dtype == "bool":
                rows = rows != 0
            if len(rows.shape) > 3:
                self.notes.add("left_frames", 1, f"{where}, {name}")
                continue
            columns[name] = rows
        return columns

    def _observations(
        self, columns: dict[str, np.ndarray], images: dict[str, np.ndarray], found: dict[str, Values]
    ) -> tuple[str, ...]:
        """Return which columns are vectors of the observations, in which order."""
        free = [name.removeprefix(f"{OBS}/") for name in columns if name.startswith(f"{OBS}/")]
        asked = tuple(key for key in self.options.obs_keys if f"{OBS}/{key}" not in images)
        if images and not asked:
            return ()
        if not asked and OBS in columns:
            return (OBS,)
        if not asked:
            asked = tuple(name for name in USUAL if name in free)[:1] or (
                tuple(free) if len(free) == 1 else ()
            )
        absent = [name for name in asked if name not in free]
        if absent or not asked:
            wrong = f"has no observation '{absent[0]}'" if absent else "has several observations or none"
            packed = [n.removeprefix(f"{OBS}/") for n in found if n not in (*columns, *TASK)]
            have = [*free, *(name for name in packed if f"{OBS}/{name}" in found)]
            raise ValueError(f"{wrong}; choose --obs-keys from {', '.join(have) or 'nothing'}")
        return tuple(f"{OBS}/{name}" for name in asked)

    def _actions(self, columns: dict[str, np.ndarray], count: int) -> np.ndarray:
        """Return the actions (N, act); choices are refused."""
        found = columns["action"]
        if found.dtype.kind in "iub":
            raise ValueError(f"'action' are {found.dtype}: discrete actions, which no agent here takes")
        return narrow(found.reshape(count, -1))

    def _rewards(self, columns: dict[str, np.ndarray], count: int, where: str) -> np.ndarray:
        """Return the rewards (N,); 0 where there are none, which is said."""
        if "reward" not in columns:
            self.notes.add("no_rewards", count, where)
            return np.zeros(count, np.float32)
        if columns["reward"].size != count:
            raise ValueError(
                f"'reward' has {columns['reward'].size} numbers for {count} steps; one each is due"
            )
        return narrow(columns["reward"].reshape(count))

    def _task(self, found: dict[str, Values]) -> str:
        """Return what the first step was told to do."""
        for name in TASK:
            texts = found.get(name)
            if isinstance(texts, list) and texts:
                return bytes(texts[0][:4096]).decode("utf-8", "replace")
        return ""

    def _note_flags(self, flags: dict[str, np.ndarray], where: str) -> None:
        """Note ends in the middle, and an end that is none."""
        early = (flags["is_last"] | flags["is_terminal"])[:-1]
        self.notes.add(
            "flags_before_the_end",
            int(early.sum()),
            f"{where}, step {int(early.argmax()) if early.size else 0}",
        )
        self.notes.add("unfinished_tails", int(not flags["is_last"][-1]), where)

    def _read_origin(self) -> None:
        """Take name and version of the set."""
        place = self.folder / "dataset_info.json"
        found = read_object(place) if place.exists() else {}
        self.versions = {
            name: found[name] for name in ("name", "version") if isinstance(found.get(name), str)
        }


def _flag(columns: dict[str, np.ndarray], name: str, count: int) -> np.ndarray:
    """Return a flag of each step (N,); False where a record has none."""
    if name not in columns:
        return np.zeros(count, bool)
    found = columns[name]
    if found.size != count or ((found != 0) & (found != 1)).any():
        raise ValueError(f"'{name}' is a flag of each step, but holds other numbers")
    return found.reshape(count) != 0


def _instead(path: Path) -> str:
    """Say what a folder without records holds."""
    place = path / "dataset_info.json"
    kind = read_object(place).get("fileFormat", "") if place.exists() else ""
    said = f"its records are {str(kind)[:20]}; " if kind not in ("", "tfrecord") else ""
    return f"{said}trajrl reads TFRecord files; build the set with file_format=tfrecord"
