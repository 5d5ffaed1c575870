"""npz files: trajrl's own, imitation's, stable-baselines', and flat columns under the usual key names.

    trajrl       obs (R, obs), actions (S, act), rewards (S,), the ledger, extras/* (S, ...), `trajrl`, JSON,
                 images/* (R, height, width, channels)
    imitation    obs of T+1 rows for each episode, acts, rews, indices where acts are split, terminal (E,)
    others       observations, actions, rewards, and what they have of next_observations, terminals, timeouts,
                 episode_starts, masks, valids

A member that holds objects is never loaded; the others are read, and the import says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from trajrl.formats.base.columns import Column
from trajrl.formats.base.episode_table import read_ledger
from trajrl.formats.base.field_names import missing, role_of
from trajrl.formats.base.options import Options
from trajrl.formats.base.source import Labelled, Source
from trajrl.formats.base.transitions import Transitions, check_numbers, flat_episodes
from trajrl.formats.npz.npy import open_npz
from trajrl.store.episode import Episode
from trajrl.store.images import PREFIX, parted

Columns = Mapping[str, Column]
OWN = "trajrl"  # member of trajrl's own files


class Npz(Source):
    """One npz file."""

    format = "npz"

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__(path, options)
        with open_npz(path) as (columns, skipped):
            if not columns:
                held = f"only objects ({', '.join(skipped)})" if skipped else "no arrays"
                raise ValueError(f"{path} holds {held}; trajrl never unpickles a member of an npz")
            self.layout = _layout(columns)
            if self.layout == "trajrl":
                self.count = columns["length"].shape[0] if "length" in columns else None
                self.restore(_whole(columns[OWN]).tobytes().decode("utf-8", "replace"))

    def read(self) -> Iterator[Labelled]:
        """Yield the episodes of the file."""
        with open_npz(self.path) as (columns, skipped):
            for name in skipped:
                self.notes.add(
                    "skipped_members", 1, f"'{name}' holds pickled objects, which are never loaded"
                )
            readers = {"trajrl": self._own, "imitation": self._imitation, "flat": self._flat}
            for episode in readers[self.layout](columns, skipped):
                yield episode, {}

    def _own(self, columns: Columns, skipped: list[str]) -> Iterator[Episode]:
        """Yield the episodes of a file that trajrl wrote."""
        ledger = read_ledger(
            {
                name: _whole(columns[name])
                for name in ("length", "terminated", "success", "source")
                if name in columns
            }
        )
        if ledger is None:
            raise ValueError(f"{self.path} lacks a part of its table of episodes; export it again")
        extras, images = (
            {name.removeprefix(kind): c for name, c in columns.items() if name.startswith(kind)}
            for kind in ("extras/", PREFIX)
        )
        steps, count = int(ledger.length.sum()), len(ledger.length)
        due = {
            "obs": steps + count,
            "actions": steps,
            "rewards": steps,
            **{f"extras/{name}": steps for name in extras},
            **{f"{PREFIX}{name}": steps + count for name in images},
        }
        _lengths(self.path, columns, due)
        start = 0
        for e, length in enumerate(ledger.length.tolist()):
            stop = start + length
            yield Episode(
                columns["obs"].read(start + e, stop + e + 1), columns["actions"].read(start, stop),
                columns["rewards"].read(start, stop), bool(ledger.terminated[e]), ledger.success_of(e),
                ledger.source[e], {name: np.array(c.read(start, stop)) for name, c in extras.items()},
                {name: np.array(c.read(start + e, stop + e + 1)) for name, c in images.items()},
            )  # fmt: skip
            start = stop

    def _imitation(self, columns: Columns, skipped: list[str]) -> Iterator[Episode]:
        """Yield the episodes between the indices at which imitation splits actions."""
        splits, ended = _whole(columns["indices"]).astype(np.int64), _whole(columns["terminal"]).astype(bool)
        steps = columns["acts"].shape[0]
        stops = np.append(splits, steps)
        if len(ended) != len(stops) or (np.diff(np.append(0, stops)) < 1).any():
            raise ValueError(
                f"{self.path}: 'indices' splits {steps} steps into {len(stops)}, 'terminal' has {len(ended)}"
            )
        due = {"obs": steps + len(stops), "acts": steps, **({"rews": steps} if "rews" in columns else {})}
        _lengths(self.path, columns, due)
        check_numbers(self.path, "obs", columns["obs"], "observations")
        check_numbers(self.path, "acts", columns["acts"], "actions")
        start = 0
        for e, stop in enumerate(stops.tolist()):
            rewards = columns["rews"].read(start, stop) if "rews" in columns else np.zeros(stop - start)
            self.notes.add("no_rewards", 0 if "rews" in columns else stop - start, f"episode {e}")
            obs, images = parted(columns["obs"].read(start + e, stop + e + 1))
            acts = columns["acts"].read(start, stop).reshape(stop - start, -1)
            obs = obs if images else obs.reshape(len(obs), -1)
            yield Episode(obs, acts, rewards.reshape(-1), bool(ended[e]), None, self.label, images=images)
            start = stop

    def _flat(self, columns: Columns, skipped: list[str]) -> Iterator[Episode]:
        """Yield the episodes of flat columns."""
        roles = {role: name for name in reversed(list(columns)) if (role := role_of(name))}
        for role in ("obs", "actions", "rewards"):
            if role not in roles:
                objects = (
                    f" ({', '.join(skipped)} hold pickled objects, which are never loaded)" if skipped else ""
                )
                raise ValueError(f"{self.path} {missing(role, columns)}{objects}")
        rows = columns[roles["actions"]].shape[:1]
        extras = {}
        for name, column in columns.items():
            if name in roles.values() or name == "masks":
                continue
            if column.dtype.kind in "fiub" and column.shape[:1] == rows:
                extras["terminal_flag" if name == "terminal" else name] = column
            else:
                self.notes.add("skipped_members", 1, f"'{name}' is {column.dtype} of shape {column.shape}")
        flat = Transitions(self.path, {role: columns[name] for role, name in roles.items()}, extras, roles)
        flat.note_casts(self.notes)
        masks = columns.get("masks")
        if masks is not None and masks.shape[:1] != rows:
            raise ValueError(
                f"{self.path}: 'masks' has {masks.shape[0]} rows and 'actions' {rows[0]}; they must be equal"
            )
        yield from flat_episodes(flat, self.options, self.notes, self.label, masks)


def _layout(columns: Columns) -> str:
    if OWN in columns:
        return "trajrl"
    return "imitation" if {"obs", "acts", "indices", "terminal"} <= set(columns) else "flat"


def _whole(column: Column) -> np.ndarray:
    return column.read(0, column.shape[0])


def _lengths(path: Path, columns: Columns, due: Mapping[str, int]) -> None:
    """Refuse columns that do not have the rows that the episodes need."""
    for name, rows in due.items():
        if name not in columns:
            raise ValueError(f"{path} has no '{name}'; it has {', '.join(columns)}")
        if columns[name].shape[:1] != (rows,):
            raise ValueError(f"{path}: '{name}' has shape {columns[name].shape}; {rows} rows are due")
