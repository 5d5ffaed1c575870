"""D4RL HDF5 files, all versions: flat rows cut into episodes as their family needs it.

With stored next observations a terminal ends an episode only where the next row is a new start.  Without
them: mazes are cut at jumps in position, hands are joined where the joints run on, the rest ends at timeouts
and terminals.

Paper: Fu et al. 2020 (D4RL).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from trajrl.formats.base.columns import Column, Hdf5Column, Joined
from trajrl.formats.base.episode_table import Ledger, read_ledger
from trajrl.formats.base.hdf5 import child, columns_below, members, numbered, open_hdf5, text
from trajrl.formats.base.options import Options
from trajrl.formats.base.source import Labelled, Source
from trajrl.formats.base.transitions import Transitions
from trajrl.formats.d4rl.family import environment_of, family_of, horizon_of
from trajrl.formats.d4rl.flags import Corrections, correct
from trajrl.store.file.bounds import Unpacked
from trajrl.store.file.hdf5 import MOST_DATASETS
from trajrl.store.notes import Notes
from trajrl.store.segment import STORED, Ends, Flags, Rows, Rules, cut, find_ends

ROLES = {
    "observations": "obs",
    "actions": "actions",
    "rewards": "rewards",
    "next_observations": "next_obs",
    "terminals": "terminals",
    "timeouts": "timeouts",
}
ASIDE = ("metadata", "trajrl")  # groups that hold no rows


class D4RL(Source):
    """One D4RL file."""

    format = "d4rl"

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__(path, options)
        with open_hdf5(path) as file:
            columns = transitions(file, path, Notes())
            Unpacked(file).add(column for _, column in columns_below(file, most=MOST_DATASETS))
            self.versions = _versions(file)
            kept = child(file, "trajrl").attrs.get("attributes") if "trajrl" in file else None
        widths = columns.roles["obs"].shape[-1], columns.roles["actions"].shape[-1]
        self.environment = options.environment or _suite(environment_of(path.stem))
        self.hint = f"{options.environment} {self.environment or ''} {path.stem}"
        goals = any(name.endswith("goal") for name in columns.extras)
        self.family = family_of(widths, self.hint, goals)
        if self.family.name != "other":
            self.set_box(-np.ones(widths[1]), np.ones(widths[1]), "the d4rl format", custom=True)
        if kept is not None:
            self.restore(text(kept))

    def read(self) -> Iterator[Labelled]:
        """Yield the episodes of the file."""
        with open_hdf5(self.path) as file:
            columns = transitions(file, self.path, self.notes)
            columns.note_casts(self.notes)
            ledger = _fitting(file, columns, self.notes)
            if ledger is not None:
                yield from _exact(columns, ledger, self.notes)
                return
            rules, corrections = self._rules(columns)
            compare = rules.stored_next and self.options.ends != "flags"
            ends = find_ends(_flags(columns, compare, corrections), rules, self.notes)
            self.count = len(ends.stop)
            yield from self._cut(columns, ends, rules)

    def _rules(self, columns: Transitions) -> tuple[Rules, Corrections]:
        """Choose how the flags of this file are read."""
        stored, ends = "next_obs" in columns.roles, self.options.ends
        corrections = correct(columns, self.family, ends, self.notes)
        horizon = 0
        if (
            not stored
            and "timeouts" not in columns.roles
            and not len(corrections.resets)
            and ends != "resets"
        ):
            horizon = self.options.horizon or horizon_of(self.family, self.hint)
        rules = Rules(
            stored_next=stored, terminals_end=self.family.terminals_end, horizon=horizon,
            confirm=stored and self.family.terminals_end and ends != "flags",
            resets_known=self.family.runs_on and not stored and ends != "flags",
        )  # fmt: skip
        if ends == "resets":
            rules = replace(rules, terminals_end=False, confirm=stored)
        return rules, corrections

    def _cut(self, columns: Transitions, ends: Ends, rules: Rules) -> Iterator[Labelled]:
        """Yield the episodes; terminals that are marks become a column and say whether it succeeded."""
        solved = not self.family.terminals_end
        marked = solved or not rules.terminals_end or "unconfirmed_terminals" in self.notes.counts

        def read(start: int, stop: int) -> Rows:
            rows = columns.rows(start, stop)
            flags = columns.flag("terminals", start, stop)
            if not marked or flags is None:
                return rows
            self.notes.add("terminal_marks", int(flags.sum()), f"row {start + int(flags.argmax())}")
            return rows._replace(extras={**rows.extras, "terminal": flags})

        for episode in cut(read, ends, self.notes, self.label):
            success = (
                bool(episode.extras["terminal"].any()) if solved and "terminal" in episode.extras else None
            )
            yield replace(episode, success=success), {}


def transitions(file: h5py.File, path: Path, notes: Notes) -> Transitions:
    """Find the columns of a file, those of a chunked one (`virtual/<i>`) joined."""
    groups: list[h5py.Group] = [file]
    if "observations" not in file and "virtual" in file:
        virtual = child(file, "virtual")
        groups = [child(virtual, name) for name in numbered(virtual, "")]
    if not groups:
        raise ValueError(f"{path}: 'virtual' holds no numbered chunk")
    parts = [dict(columns_below(group, ASIDE)) for group in groups]
    odd = next((i for i, part in enumerate(parts) if set(part) != set(parts[0])), None)
    if odd is not None:
        raise ValueError(
            f"{path}: chunk {odd} has columns {sorted(parts[odd])}, chunk 0 has {sorted(parts[0])}"
        )
    roles = {role: _join(parts, name) for name, role in ROLES.items() if name in parts[0]}
    for name, role in ROLES.items():
        if role in ("obs", "actions", "rewards", "terminals") and role not in roles:
            have = ", ".join(sorted(parts[0])) or "no arrays"
            raise ValueError(f"{path} has no '{name}', so it is not a whole D4RL file; it has {have}")
    extras = _extras(parts, roles["actions"].shape[0], notes)
    return Transitions(path, roles, extras, {role: name for name, role in ROLES.items() if role in roles})


def _join(parts: list[dict[str, h5py.Dataset]], name: str) -> Column:
    columns = [Hdf5Column(part[name]) for part in parts]
    return columns[0] if len(columns) == 1 else Joined(columns, name)


def _extras(parts: list[dict[str, h5py.Dataset]], count: int, notes: Notes) -> dict[str, Column]:
    """Return the further columns with one row for each action, under the last part of their names."""
    found: dict[str, Column] = {}
    for name, dataset in parts[0].items():
        if name in ROLES:
            continue
        leaf = name.removeprefix("infos/")
        if dataset.dtype.kind not in "fiub" or not dataset.shape:
            notes.add("skipped_members", 1, f"'{name}' does not hold numbers for each row")
            continue
        column = _join(parts, name)
        if column.shape[0] != count:
            notes.add("skipped_members", 1, f"'{name}' has {column.shape[0]} rows and the actions {count}")
        elif leaf == "terminal" and dataset.dtype != bool:
            notes.add(
                "skipped_members", 1, f"'{name}' is {dataset.dtype}; a column of that name must be bool"
            )
        else:
            found[leaf if leaf not in found else name] = column
    return found


def _versions(file: h5py.File) -> dict[str, str]:
    """Return what the file says about the algorithm that recorded it."""
    if "metadata" not in file:
        return {}
    found = dict(members(child(file, "metadata")))
    return {name: text(found[name]) for name in ("algorithm", "iteration") if name in found}


def _suite(environment: str | None) -> str | None:
    return None if environment is None else f"d4rl:{environment}"


def _flags(columns: Transitions, compare: bool, corrections: Corrections) -> Iterator[Flags]:
    """Yield the flags of every block with the family's corrections."""
    for (start, stop), block in zip(columns.blocks(), columns.flags(compare)):
        yield corrections.apply(block, start, stop, columns.num_rows)


def _fitting(file: h5py.File, columns: Transitions, notes: Notes) -> Ledger | None:
    """Return the ledger of an exported file, if it still fits the rows."""
    if "trajrl" not in file:
        return None
    group = child(file, "trajrl")
    ledger = read_ledger({name: item[()] for name, item in members(group) if isinstance(item, h5py.Dataset)})
    if ledger is not None and int(ledger.length.sum()) == columns.num_rows and "next_obs" in columns.roles:
        last = np.cumsum(ledger.length) - 1
        terminals = columns.whole_flag("terminals")
        cuts = columns.whole_flag("timeouts") if "timeouts" in columns.roles else ~terminals
        if (terminals[last] >= ledger.terminated).all() and (cuts[last] | terminals[last]).all():
            return ledger
    notes.add("outdated_ledger", 1, "group 'trajrl'")
    return None


def _exact(columns: Transitions, ledger: Ledger, notes: Notes) -> Iterator[Labelled]:
    """Yield the episodes of a file that trajrl wrote."""
    count = len(ledger.length)
    ends = Ends(np.cumsum(ledger.length), ledger.terminated, np.full(count, STORED, np.uint8))
    for e, episode in enumerate(cut(columns.rows, ends, notes)):
        yield replace(episode, success=ledger.success_of(e), source=ledger.source[e]), {}
