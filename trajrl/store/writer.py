"""StoreWriter: episodes in, one HDF5 file out, in constant memory and atomically.

Columns are spooled to raw part files beside the target, then copied into contiguous datasets of a file under a temporary
name, which is flushed to disk and renamed.  A crash leaves no file under the final name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from trajrl.store.episode import Episode
from trajrl.store.fingerprint import new_hash
from trajrl.store.normalize import Moments
from trajrl.store.table import PHASES, Table


class StoreWriter:
    """Write a store file; use as a context manager: the file appears at a clean exit, or not at all."""

    def __init__(self, path: str | Path, attributes: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.attributes = dict(attributes or {})
        self.table = Table()
        self.obs_moments = Moments()
        self.action_moments = Moments()
        self.reward_moments = Moments()
        self.num_steps = 0
        self._spools: dict[str, Spool] = {}
        self._scratch = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.path)
        self._scratch.mkdir()

    def append(self, episode: Episode, phase: str = "offline", labels: Mapping[str, Any] | None = None) -> int:
        """Write one episode; `labels` are further columns of the table.  Returns its id."""
        self._check(episode)
        columns = {"obs": episode.obs, "actions": episode.actions, "rewards": episode.rewards}
        columns.update({f"extras/{name}": column for name, column in episode.extras.items()})
        if self._spools and set(columns) != set(self._spools):
            raise ValueError(
                f"episode {len(self.table)} of {self.path.name} has columns {sorted(columns)}; "
                f"those before it have {sorted(self._spools)}"
            )
        for name, column in columns.items():
            if name not in self._spools:
                self._spools[name] = Spool(self._scratch / name.replace("/", "-"), column)
            self._spools[name].write(column, f"column '{name}' of episode {len(self.table)}")
        self.obs_moments.add(episode.obs)
        self.action_moments.add(episode.actions)
        self.reward_moments.add(episode.rewards[:, None])
        for name in labels or {}:
            if name not in self.table.extra_names:
                self.table.set(name, np.zeros(len(self.table), np.asarray(labels[name]).dtype))  # type: ignore[index]
        start, self.num_steps = self.num_steps, self.num_steps + len(episode)
        return self.table.append(
            start=start, length=len(episode), terminated=episode.terminated, returns=episode.episode_return,
            success=-1 if episode.success is None else int(episode.success), alive=True,
            source_code=self.table.code(episode.source), phase=PHASES.index(phase), **(labels or {}),
        )  # fmt: skip

    def close(self) -> None:
        """Assemble the file and give it its name."""
        from trajrl.store.hdf5 import write_file

        if not len(self.table):
            raise ValueError(f"there is not one episode to write to {self.path}")
        for spool in self._spools.values():
            spool.file.close()
        statistics = {**self.obs_moments.named("obs"), **self.action_moments.named("action"), **self.reward_moments.named("reward")}
        written = self._scratch / "store.h5"
        write_file(written, self._spools, self.table, self.attributes, statistics)
        os.replace(written, self.path)
        sync_folder(self.path.parent)
        self.abort()

    def abort(self) -> None:
        """Drop what was written so far."""
        for spool in self._spools.values():
            spool.file.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.abort()

    def _check(self, episode: Episode) -> None:
        """Refuse numbers that would poison every statistic and network."""
        for name in ("obs", "actions", "rewards"):
            column = getattr(episode, name)
            if not np.isfinite(column).all():
                step = int(np.argwhere(~np.isfinite(column))[0][0])
                raise ValueError(
                    f"episode {len(self.table)} has NaN or inf in {name} at step {step}; "
                    f"`store doctor` on the source lists every such place"
                )


class Spool:
    """One column on its way to the file: raw rows in a part file, and their running hash."""

    def __init__(self, path: Path, like: np.ndarray) -> None:
        self.path, self.dtype, self.width = path, like.dtype.newbyteorder("="), like.shape[1:]
        self.file: IO[bytes] = path.open("wb")
        self.hash = new_hash()
        self.num_rows = 0

    def write(self, rows: np.ndarray, what: str) -> None:
        """Append rows of the column's own type and width."""
        if rows.shape[1:] != self.width:
            raise ValueError(f"{what} is {rows.shape[1:]} wide; the episodes before it have {self.width}")
        block = np.ascontiguousarray(rows, self.dtype)
        self.file.write(block.data)
        self.hash.update(block.data)
        self.num_rows += len(rows)


def remove_leftovers(path: Path) -> None:
    """Remove the scratch of writers of `path` that no longer run."""
    for scratch in path.parent.glob(f".{path.name}.*.tmp"):
        pid = scratch.name.split(".")[-2]
        if not (pid.isdigit() and _runs(int(pid))):
            shutil.rmtree(scratch, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()
