"""StoreWriter: episodes in, one HDF5 file out, in constant memory and atomically.

Columns are spooled to part files in a scratch folder beside the target, then copied into contiguous datasets
of one file, which is flushed to disk and renamed.  A crash leaves no file under the final name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.atomic_files import Scratch, State, said
from trajrl.core.out_paths import refuse_irregular
from trajrl.store.episode import Episode
from trajrl.store.moments import Moments
from trajrl.store.table import Table, phase_code

if TYPE_CHECKING:
    from trajrl.store.file.spool import Spool
    from trajrl.store.store import TrajectoryStore


class StoreWriter:
    """Write a store file; use as a context manager: the file appears at a clean exit, or not at all."""

    def __init__(
        self, path: str | Path, attributes: Mapping[str, Any] | None = None, source: str | Path = "",
        read: Iterable[TrajectoryStore] = (),
    ) -> None:  # fmt: skip
        """Write to `path`.

        Args:
            source: where the episodes come from, for what is refused of them
            read: stores that they are read from; one of them is replaced only as it was opened
        """
        self.path, self.source = Path(path), source or Path(path).name
        self._instead_of = state_read(self.path, read)
        self.attributes = dict(attributes or {})
        self.table = Table()
        self.num_steps = 0
        self.statistics: Mapping[
            str, np.ndarray
        ] = {}  # arrays that belong to labels, kept beside the moments
        self.obs_moments, self.action_moments, self.reward_moments = Moments(), Moments(), Moments()
        self._spools: dict[str, Spool] = {}
        refuse_foreign(self.path)
        self._scratch = Scratch(self.path)

    def append(
        self, episode: Episode, phase: str = "offline", labels: Mapping[str, Any] | None = None
    ) -> int:
        """Write one episode; `labels` are further columns of the table.  Returns its id."""
        labels = labels or {}
        columns = episode.columns
        self._check(
            episode, columns, labels
        )  # everything before anything is written: a refused episode leaves no rows
        with said(self.path):
            for name, column in columns.items():
                self._spool(name, column).write(column)
        self.obs_moments.add(episode.obs)
        self.action_moments.add(episode.actions)
        self.reward_moments.add(episode.rewards[:, None])
        for name in set(labels) - set(self.table.extra_names):
            self.table.set(name, np.zeros(len(self.table), np.asarray(labels[name]).dtype))
        start, self.num_steps = self.num_steps, self.num_steps + len(episode)
        return self.table.append(
            start=start, length=len(episode), terminated=episode.terminated, returns=episode.episode_return,
            success=-1 if episode.success is None else int(episode.success), alive=True,
            source_code=self.table.code(episode.source), phase=phase_code(phase), **labels,
        )  # fmt: skip

    def close(self) -> None:
        """Assemble the file and give it its name."""
        from trajrl.store.file.spool import assemble

        if not len(self.table):
            raise ValueError(f"there is not one episode to write to {self.path}")
        statistics = {
            **self.statistics, **self.obs_moments.named("obs"), **self.action_moments.named("action"),
            **self.reward_moments.named("reward"),
        }  # fmt: skip
        written = self._scratch.folder / "store.h5"
        with said(self.path):
            assemble(written, self._spools, self.table, self.attributes, statistics)
            self._scratch.publish(written, self._instead_of)
        self.abort()

    def abort(self) -> None:
        """Drop what was written so far; after `close` this does nothing."""
        for spool in self._spools.values():
            spool.close()
        self._scratch.remove()

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.abort()

    def _spool(self, name: str, like: np.ndarray) -> Spool:
        """Return the part file of a column, opening it with the first episode."""
        from trajrl.store.file.spool import Spool

        if name not in self._spools:
            self._spools[name] = Spool(self._scratch.folder / f"{len(self._spools)}.part", like)
        return self._spools[name]

    def _check(self, episode: Episode, columns: Mapping[str, np.ndarray], labels: Mapping[str, Any]) -> None:
        """Refuse an episode that does not fit the ones before it, or would poison every network."""
        where = f"episode {len(self.table)} of {self.source}"
        if self._spools and set(columns) != set(self._spools):
            raise ValueError(
                f"{where} has columns {sorted(columns)}; those before it have {sorted(self._spools)}"
            )
        for name, column in columns.items():
            if name in self._spools and (wrong := self._spools[name].refuse(column)):
                raise ValueError(f"column '{name}' of {where} {wrong}")
            if not column[:1].size and not (name == "obs" and episode.images):
                raise ValueError(f"column '{name}' of {where} has rows of no numbers")
            if column.dtype.kind == "f" and not name.startswith("extras/") and not np.isfinite(column).all():
                step = int(np.argwhere(~np.isfinite(column))[0][0])
                raise ValueError(
                    f"{where} has NaN or inf in {name} at step {step}; "
                    "`store doctor` on the source lists every place (float32 ends at 3.4e38)"
                )
        for name, value in labels.items():
            if np.asarray(value).dtype.kind not in "biuf" or np.ndim(value):
                raise ValueError(f"label '{name}' of {where} is {value!r}; a label is one number or flag")


def state_read(path: Path, read: Iterable[TrajectoryStore]) -> State:
    """Return the state, as it was opened, of the store among those read that lies at a path."""
    here = (store for store in read if store.state and store.path and store.path.exists())
    return next((one.state for one in here if one.path and path.exists() and path.samefile(one.path)), ())


def refuse_foreign(path: Path) -> None:
    """Refuse to write over anything that is not a store: it may be the source."""
    from trajrl.store.file.hdf5 import open_file

    refuse_irregular(path)
    if path.exists():
        try:
            open_file(path).close()
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path} exists and is not a store of trajrl; remove it or choose another name"
            ) from error
