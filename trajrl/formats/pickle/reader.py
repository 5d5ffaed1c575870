"""Pickled trajectories: lists of dictionaries of arrays, as decision-transformer, cs285 and hand_dapg write.

    observations (T or T+1), actions, rewards, optional next_observations, terminals     singular names too

Read by an unpickler that admits arrays alone.  Each dictionary of a list is one episode: terminated =
terminals[T-1], else truncated.  A single dictionary holds flat columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.formats.base.columns import ArrayColumn
from trajrl.formats.base.field_names import missing, role_of
from trajrl.formats.base.options import Options
from trajrl.formats.base.source import Labelled, Source
from trajrl.formats.base.transitions import Transitions, flat_episodes
from trajrl.formats.pickle.safe_unpickle import load
from trajrl.store.episode import Episode
from trajrl.store.notes import one
from trajrl.store.segment import GIVEN_UP, REPEATED, STORED, Ends, cut

AFTER = "the observations but the first"  # name of next observations that T+1 rows give


class Pickle(Source):
    """One pickle of whole trajectories."""

    format = "pickle"

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__(path, options)
        found = load(path, options.trust_pickle)
        self.flat = isinstance(found, dict) and not all(isinstance(item, dict) for item in found.values())
        self.trajectories = _trajectories(path, found)
        self.count = None if self.flat else len(self.trajectories)

    def read(self) -> Iterator[Labelled]:
        """Yield the trajectories in order."""
        self.notes.add("trusted_pickles", int(self.options.trust_pickle), self.path.name)
        if self.flat:
            columns = self._columns(0, self.trajectories[0])
            columns.note_casts(self.notes)
            for episode in flat_episodes(columns, self.options, self.notes, self.label):
                yield episode, {}
            return
        every = [self._columns(number, trajectory) for number, trajectory in enumerate(self.trajectories)]
        early = [self._early(columns, number) for number, columns in enumerate(every)]
        for columns in every:
            yield from ((episode, {}) for episode in self._whole(columns, any(early)))

    def _whole(self, columns: Transitions, marked: bool) -> Iterator[Episode]:
        """Yield one trajectory as one episode; `marked`: terminals become a column, some stand inside one."""
        columns.note_casts(self.notes)
        flags = columns.flag("terminals", 0, columns.num_rows)
        terminated = flags is not None and bool(flags[-1])
        self.notes.add(
            "ends_of_unknown_kind", int(flags is None and "timeouts" not in columns.roles), columns.place
        )
        last = STORED if "next_obs" in columns.roles else REPEATED if terminated else GIVEN_UP
        if marked:
            none = np.zeros(columns.num_rows, bool)
            columns.extras["terminal"] = ArrayColumn(none if flags is None else flags)
        ends = Ends(np.array([columns.num_rows]), np.array([terminated]), np.array([last], np.uint8))
        yield from cut(columns.rows, ends, self.notes, self.label)

    def _early(self, columns: Transitions, number: int) -> bool:
        """Say whether terminals stand before the last step of a trajectory, and count them."""
        flags = columns.flag("terminals", 0, columns.num_rows)
        count = 0 if flags is None else int(flags[:-1].sum())
        self.notes.add("flags_before_the_end", count, f"trajectory {number}")
        return count > 0

    def _place(self, number: int) -> str:
        """Return what a trajectory is called in a message."""
        return f"{self.path}, trajectory {number}"

    def _columns(self, number: int, trajectory: Mapping[Any, Any]) -> Transitions:
        """Give the arrays of one trajectory trajrl's names."""
        place = self._place(number)
        skipped = [str(key) for key, value in trajectory.items() if _holds_text(value)]
        arrays = {str(k): np.asarray(v) for k, v in trajectory.items() if str(k) not in skipped}
        roles = {role: name for name in reversed(list(arrays)) if (role := role_of(name))}
        for role in ("obs", "actions", "rewards"):
            if role not in roles:
                raise ValueError(f"{place} {missing(role, map(str, trajectory))}")
        length, obs = len(np.atleast_1d(arrays[roles["actions"]])), arrays[roles["obs"]]
        if "next_obs" not in roles and obs.ndim and len(obs) == length + 1:
            arrays[roles["obs"]], arrays[AFTER], roles["next_obs"] = obs[:-1], obs[1:], AFTER
        extras = {}
        for name in (name for name in arrays if name not in roles.values()):
            if arrays[name].dtype.kind in "fiub" and arrays[name].shape[:1] == (length,):
                extras["terminal_flag" if name == "terminal" else name] = ArrayColumn(arrays[name])
            else:
                skipped.append(name)
        for name in skipped:
            self.notes.add("skipped_members", 1, f"'{name}' of trajectory {number}")
        return Transitions(
            place, {role: ArrayColumn(arrays[name]) for role, name in roles.items()}, extras, roles
        )


def _holds_text(value: Any) -> bool:
    """Say whether something is a dictionary or text, or a list with such in it: numpy would pad all texts."""
    if isinstance(value, list | tuple):
        return any(map(_holds_text, value))
    return isinstance(value, dict | str | bytes)


def _trajectories(path: Path, found: Any) -> list[Mapping[Any, Any]]:
    """Return the dictionaries in what was loaded."""
    if isinstance(found, dict) and found:
        nested = all(isinstance(item, dict) for item in found.values())
        found = list(found.values()) if nested else [found]
    if not isinstance(found, list | tuple) or not found or not all(isinstance(item, dict) for item in found):
        raise ValueError(f"{path} holds {one(found)}; a list of trajectories, each a dictionary, is due")
    return list(found)
