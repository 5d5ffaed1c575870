"""OGBench npz files and shard folders: a trajectory of T actions has T+1 rows, `terminals` marks the last.

    rows s..s+T -> obs[0..T], actions[0..T-1] (the action of row s+T leads nowhere), terminated = False

The end is a time limit.  Files hold no rewards: they stay 0 until a suite relabels them for its task.

Paper: Park et al. 2025 (OGBench).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from trajrl.formats.base.columns import Column, block_rows, narrow
from trajrl.formats.base.episode_table import Ledger, read_ledger
from trajrl.formats.base.options import Options
from trajrl.formats.base.source import Labelled, Source, inside, undamaged
from trajrl.formats.base.transitions import check_numbers
from trajrl.formats.npz.npy import open_npz
from trajrl.store.episode import Episode
from trajrl.store.images import is_image, parted

MEMBERS = ("observations", "actions", "terminals")
LEDGER = "trajrl_"  # members that only trajrl's own exports have


class OGBench(Source):
    """One file, or a folder of numbered shards read in order, each once."""

    format = "ogbench"

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__(path, options)
        self.shards = _shards(path, options.split) if path.is_dir() else [path]
        self.width: tuple[int | tuple[int, ...], int] | None = None
        with open_npz(self.shards[0]) as (columns, _):
            self._check(self.shards[0], columns)
            ones, kept = np.ones(columns["actions"].shape[1]), columns.get(f"{LEDGER}attributes")
            attributes = b"" if kept is None else kept.read(0, kept.shape[0]).tobytes()
        self.set_box(-ones, ones, "the ogbench format", custom=True)
        stem = _parts(self.shards[0])[0]
        if not self.environment and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+-v\d+", stem):
            self.environment = f"ogbench:{stem}"
        if attributes:
            self.restore(attributes.decode("utf-8", "replace"))
        self.count = sum(map(self._episodes_in, self.shards))

    @property
    def label(self) -> str:
        """Return what episodes are called: the file, or the folder of the shards."""
        return self.options.source or (self.path.name if self.path.is_dir() else self.path.stem)

    def read(self) -> Iterator[Labelled]:
        """Yield the trajectories of every shard."""
        absent = missing_numbers(self.shards)
        self.notes.add("absent_shards", len(absent), f"number {absent[0]}" if absent else "")
        sharded = self.path.is_dir()
        for number, shard in enumerate(self.shards):
            for episode in self._shard(shard):
                yield episode, {"shard": number} if sharded else {}

    def _episodes_in(self, path: Path) -> int:
        """Count the trajectories of a file by its flags alone; what is wrong with a shard is said at once."""
        with undamaged(path), open_npz(path) as (columns, _):
            self._check(path, columns)
            return len(_stops(path, columns))

    def _shard(self, path: Path) -> Iterator[Episode]:
        """Yield the trajectories of one file."""
        with open_npz(path) as (columns, skipped):
            for name in skipped:
                self.notes.add("skipped_members", 1, f"'{name}' of {path.name} holds pickled objects")
            self._check(path, columns)
            for name in MEMBERS[:2]:
                kind = columns[name].dtype
                kept = is_image(columns[name].shape, kind) or kind == np.float32
                self.notes.add("cast_columns", int(not kept), f"'{name}' of {path.name} is {kind}")
            stops = _stops(path, columns)
            ledger, extras = self._ledger(path, columns, stops), self._extras(path, columns)
            start = 0
            for e, stop in enumerate(stops.tolist()):
                episode = self._trajectory(path, columns, start, stop, extras)
                start = stop
                if episode is not None:
                    yield episode if ledger is None else _with(episode, ledger, e)

    def _trajectory(
        self, path: Path, columns: Mapping[str, Column], start: int, stop: int, extras: Mapping[str, Column]
    ) -> Episode | None:
        """Return rows [start, stop) as an episode of stop - start - 1 actions."""
        obs, images = parted(columns["observations"].read(start, stop))
        actions = narrow(columns["actions"].read(start, stop)[:-1])
        where = f"{path.name}, row {stop - 1}"
        self.notes.add("unfinished_tails", int(not columns["terminals"].read(stop - 1, stop)[0]), where)
        if not len(actions):
            self.notes.add("lost_episodes", 1, where)
            return None
        found = {name: np.array(column.read(start, stop)[:-1]) for name, column in extras.items()}
        rewards = np.zeros(len(actions), np.float32)
        if f"{LEDGER}rewards" in columns:
            rewards = narrow(columns[f"{LEDGER}rewards"].read(start, stop)[:-1])
        else:
            self.notes.add("no_rewards", len(actions), f"{path.name}, row {start}")
        return Episode(narrow(obs), actions, rewards, False, None, self.label, found, images)

    def _extras(self, path: Path, columns: Mapping[str, Column]) -> dict[str, Column]:
        """Return the further members with one row of numbers for each observation."""
        found = {}
        for name, column in columns.items():
            if name in (*MEMBERS, "valids") or name.startswith(LEDGER):
                continue
            fits = column.dtype.kind in "fiub" and column.shape[:1] == columns["actions"].shape[:1]
            if fits and (name != "terminal" or column.dtype == bool):
                found[name] = column
            else:
                self.notes.add(
                    "skipped_members", 1, f"'{name}' of {path.name} is {column.dtype} {column.shape}"
                )
        return found

    def _ledger(self, path: Path, columns: Mapping[str, Column], stops: np.ndarray) -> Ledger | None:
        """Return the ledger of an exported file, if it still fits the rows."""
        own = {n.removeprefix(LEDGER): c for n, c in columns.items() if n.startswith(LEDGER)}
        if not own:
            return None
        rewards = own.pop("rewards", None)
        ledger = read_ledger({name: column.read(0, column.shape[0]) for name, column in own.items()})
        fits = rewards is not None and rewards.shape == columns["actions"].shape[:1]
        if fits and ledger is not None and np.array_equal(np.cumsum(ledger.length + 1), stops):
            return ledger
        self.notes.add("outdated_ledger", 1, path.name)
        return None

    def _check(self, path: Path, columns: Mapping[str, Column]) -> None:
        """Refuse a file that lacks a member or whose members disagree."""
        for name in MEMBERS:
            if name not in columns:
                raise ValueError(
                    f"{path} has no '{name}', so it is not an OGBench file; it has {', '.join(columns)}"
                )
        check_numbers(path, "observations", columns["observations"], "observations")
        check_numbers(path, "actions", columns["actions"], "actions")
        rows = columns["actions"].shape[:1]
        for name in MEMBERS:
            shape, expected = columns[name].shape, 1 if name == "terminals" else 2
            if is_image(shape, columns[name].dtype):
                expected = 4
            if columns[name].dtype.kind not in "fiub" or len(shape) != expected:
                raise ValueError(
                    f"{path}: '{name}' is {columns[name].dtype} of shape {shape}; rows of numbers are due"
                )
            if shape[:1] != rows or not shape[0]:
                raise ValueError(
                    f"{path}: '{name}' has {shape[0]} rows and 'actions' {rows[0]}; they must be equal"
                )
        row = columns["observations"].shape[1:]
        width = row[0] if len(row) == 1 else row, columns["actions"].shape[1]
        if self.width not in (None, width):
            raise ValueError(
                f"{path} has observations and actions of {width} numbers; the shards before it {self.width}"
            )
        self.width = width


def _with(episode: Episode, ledger: Ledger, e: int) -> Episode:
    """Return an episode with what the ledger says about it."""
    terminated, source = bool(ledger.terminated[e]), ledger.source[e]
    return replace(episode, terminated=terminated, success=ledger.success_of(e), source=source)


def missing_numbers(shards: list[Path]) -> list[int]:
    """Return the numbers that a set of numbered shards skips."""
    numbers = sorted({number for _, number in map(_parts, shards) if number is not None})
    return sorted(set(range(numbers[-1] + 1)) - set(numbers)) if numbers and len(shards) > 1 else []


def _parts(path: Path) -> tuple[str, int | None]:
    """Return the name that the shards of one set share, and the number of this one."""
    stem = path.stem.removesuffix("-val")
    found = None if re.search(r"-v\d+$", stem) else re.fullmatch(r"(.*?)[-_]?(\d+)", stem)
    return (found[1], int(found[2])) if found else (stem, None)


def _shards(folder: Path, split: str) -> list[Path]:
    """Return the files of a folder in order of their number; validation files apart."""
    files = sorted(folder.glob("*.npz"), key=lambda p: (_parts(p)[1] or 0, p.name))
    chosen = [p for p in files if split == "all" or p.stem.endswith("-val") == (split == "val")]
    if not chosen:
        others = f", but {len(files)} others" if files else ""
        raise ValueError(f"{folder} holds no {split} shards (*.npz){others}")
    sets = sorted({_parts(p)[0] for p in chosen})
    if len(sets) > 1:
        raise ValueError(
            f"{folder} holds several sets ({', '.join(sets)}); name one file or a folder of one set"
        )
    return [inside(folder, path) for path in chosen]


def _stops(path: Path, columns: Mapping[str, Column]) -> np.ndarray:
    """Return the row after each trajectory's last; a tail without a terminal counts as one."""
    rows, compact = columns["actions"].shape[0], "valids" in columns  # the loader's compact layout, saved
    terminals = columns["valids" if compact else "terminals"]
    ends, step = [], block_rows(terminals.shape, terminals.dtype)
    for start in range(0, rows, step):
        block = terminals.read(start, min(rows, start + step))
        if not ((block == 0) | (block == 1)).all():
            raise ValueError(
                f"{path}: 'terminals' is a flag, but holds {block[(block != 0) & (block != 1)][0]}"
            )
        ends.append(start + np.flatnonzero(block == (0 if compact else 1)) + 1)
    stops = np.concatenate(ends)
    return stops if len(stops) and stops[-1] == rows else np.append(stops, rows)
