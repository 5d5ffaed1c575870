"""Transitions: the columns of a flat file under trajrl's names, checked once, then read in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from trajrl.core.console import plain_progress
from trajrl.formats.base.columns import Column, block_rows, narrow
from trajrl.formats.base.options import Options
from trajrl.store.episode import Episode
from trajrl.store.images import is_image
from trajrl.store.notes import Notes
from trajrl.store.segment import Flags, Rows, Rules, cut, differs, find_ends

FLAGS = ("terminals", "timeouts", "starts")
CHANNELS = 16  # at most, of an image


class Transitions:
    """N rows: obs, actions, rewards, where present next_obs, terminals, timeouts, starts, and extras."""

    def __init__(
        self,
        place: Path | str,
        roles: Mapping[str, Column],
        extras: Mapping[str, Column],
        names: Mapping[str, str],
    ) -> None:
        self.place, self.roles, self.extras = str(place), dict(roles), dict(extras)
        self._names = names  # role -> what the file calls it
        self._check()
        self.num_rows = self.roles["actions"].shape[0]
        self.step = min(block_rows(c.shape, c.dtype) for c in self.roles.values())

    def note_casts(self, notes: Notes) -> None:
        """Count columns that are not stored as the store keeps them."""
        for role, column in self.roles.items():
            seen = role in ("obs", "next_obs") and is_image(column.shape, column.dtype)
            kept = np.dtype(bool) if role in FLAGS else np.dtype(np.uint8 if seen else np.float32)
            where = f"'{self._names[role]}' is {column.dtype}"
            notes.add("cast_columns", int(column.dtype != kept), where)
            flat = role in ("rewards", *FLAGS)
            odd = len(column.shape) == 2 if flat else len(column.shape) == 1
            notes.add("reshaped_columns", int(odd), f"'{self._names[role]}' is {column.shape}")

    def flag(self, role: str, start: int, stop: int) -> np.ndarray | None:
        """Return a flag column as (n,) bool; anything but 0 and 1 is refused."""
        if role not in self.roles:
            return None
        found = self.roles[role].read(start, stop).reshape(stop - start)
        if found.dtype != bool and not ((found == 0) | (found == 1)).all():
            row = start + int(((found != 0) & (found != 1)).argmax())
            raise ValueError(
                f"{self.place}: '{self._names[role]}' is a flag, but row {row} holds {found[row - start]}"
            )
        return found.astype(bool)

    def whole_flag(self, role: str) -> np.ndarray:
        """Return a flag column whole, (N,) bool: one byte for each row."""
        blocks = [self.flag(role, start, stop) for start, stop in self.blocks()]
        return np.concatenate([block for block in blocks if block is not None])

    def wide(self, role: str, start: int, stop: int) -> np.ndarray:
        """Return observations or actions as (n, width) float32; images as they are."""
        column = self.roles[role]
        if role != "actions" and is_image(column.shape, column.dtype):
            return column.read(start, stop)
        return narrow(self.roles[role].read(start, stop).reshape(stop - start, -1))

    def rows(self, start: int, stop: int) -> Rows:
        """Return transitions [start, stop)."""
        rewards = narrow(self.roles["rewards"].read(start, stop).reshape(stop - start))
        after = self.wide("next_obs", start, stop) if "next_obs" in self.roles else None
        extras = {name: np.array(column.read(start, stop)) for name, column in self.extras.items()}
        return Rows(self.wide("obs", start, stop), self.wide("actions", start, stop), rewards, after, extras)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield the borders of blocks that fit in memory."""
        for start in range(0, self.num_rows, self.step):
            yield start, min(start + self.step, self.num_rows)

    def flags(self, compare: bool) -> Iterator[Flags]:
        """Yield what every block says about ends; `compare` finds resets in the stored next observations."""
        blocks = range(0, self.num_rows, self.step)
        shown = plain_progress(
            self.blocks(), f"{Path(self.place).name}: looking for ends", len(blocks), "blocks"
        )
        for start, stop in shown:
            terminals = self.flag("terminals", start, stop)
            terminals = np.zeros(stop - start, bool) if terminals is None else terminals
            resets = self.resets(start, stop) if compare else None
            yield Flags(
                terminals, self.flag("timeouts", start, stop), resets, self.flag("starts", start, stop)
            )

    def resets(self, start: int, stop: int) -> np.ndarray | None:
        """Return where the stored next observation is not the following row (n,); None: none is stored."""
        if "next_obs" not in self.roles:
            return None
        after, ahead = self.roles["next_obs"].read(start, stop), min(stop + 1, self.num_rows)
        return differs(after.reshape(len(after), -1), self.wide_as_found("obs", start, ahead))

    def wide_as_found(self, role: str, start: int, stop: int) -> np.ndarray:
        """Return rows (n, width) in the file's own type."""
        return self.roles[role].read(start, stop).reshape(stop - start, -1)

    def _check(self) -> None:
        for role in ("obs", "actions", "rewards"):
            if role not in self.roles:
                raise ValueError(
                    f"{self.place} has no '{role}' column; it has {', '.join(self._names.values())}"
                )
        for role, column in self.roles.items():
            if not column.shape:
                raise ValueError(
                    f"{self.place}: '{self._names[role]}' is a single value; a row for each step is due"
                )
        count = self.roles["actions"].shape[0]
        for role, column in self.roles.items():
            name = self._names[role]
            if column.dtype.kind not in "fiub":
                raise ValueError(f"{self.place}: '{name}' holds {column.dtype}, not numbers")
            if column.shape[0] != count:
                both = f"'{name}' has {column.shape[0]} rows and '{self._names['actions']}' {count}"
                raise ValueError(f"{self.place}: {both}; they must be equal")
            if role in ("rewards", *FLAGS) and column.shape[1:] not in ((), (1,)):
                raise ValueError(
                    f"{self.place}: '{name}' has shape {column.shape}; one number for each row is due"
                )
        if not count:
            raise ValueError(f"{self.place} has no rows")
        check_numbers(self.place, self._names["obs"], self.roles["obs"], "observations")
        check_numbers(self.place, self._names["actions"], self.roles["actions"], "actions")
        if "next_obs" in self.roles and self.roles["next_obs"].shape != self.roles["obs"].shape:
            shapes = f"{self.roles['next_obs'].shape} and {self.roles['obs'].shape}"
            raise ValueError(
                f"{self.place}: next observations and observations have shapes {shapes}; they must be equal"
            )


def check_numbers(path: Path | str, name: str, column: Column, what: str) -> None:
    """Refuse stacks, images in another layout and discrete choices."""
    seen = what == "observations" and is_image(column.shape, column.dtype)
    if seen and column.shape[1] <= CHANNELS < column.shape[3]:
        raise ValueError(
            f"{path}: '{name}' has shape {column.shape}: channels first; the file must be written with them "
            "last, (rows, height, width, channels)"
        )
    if len(column.shape) > 2 and not seen:
        raise ValueError(
            f"{path}: '{name}' is {column.dtype} of shape {column.shape}; trajrl reads vectors, and images "
            "(rows, height, width, channels) of bytes"
        )
    if what == "actions" and column.dtype.kind in "iub":
        raise ValueError(f"{path}: '{name}' are {column.dtype}: discrete actions, which no agent here takes")
    if what == "observations" and not seen and column.dtype == np.uint8 and column.shape[-1] >= 256:
        raise ValueError(
            f"{path}: '{name}' has shape {column.shape} of bytes: pixels without their height and width; "
            "images are (rows, height, width, channels)"
        )


def flat_episodes(
    columns: Transitions, options: Options, notes: Notes, label: str, masks: Column | None = None
) -> Iterator[Episode]:
    """Yield the episodes of flat columns."""
    stored, kinds = "next_obs" in columns.roles, set(columns.roles)
    compare = stored and options.ends != "flags"
    rules = Rules(
        stored_next=stored, terminals_end=masks is None and options.ends != "resets",
        confirm=compare and masks is None,
        horizon=options.horizon if "timeouts" not in kinds and not stored and "starts" not in kinds else 0,
    )  # fmt: skip
    blocks = _masked(columns, masks, compare) if masks is not None else columns.flags(compare)
    ends = find_ends(blocks, rules, notes)
    if not kinds & {"terminals", "timeouts"}:
        notes.add("ends_of_unknown_kind", len(ends.stop), "row " + str(int(ends.stop[0]) - 1))
    marked = masks is not None or "unconfirmed_terminals" in notes.counts

    def read(start: int, stop: int) -> Rows:
        rows = columns.rows(start, stop)
        if not marked:
            return rows
        solved = columns.flag("terminals", start, stop) if masks is None else _solved(masks, start, stop)
        assert solved is not None
        notes.add("terminal_marks", int(solved.sum()), f"row {start + int(solved.argmax())}")
        return rows._replace(extras={**rows.extras, "terminal": solved})

    return cut(read, ends, notes, label)


def _masked(columns: Transitions, masks: Column, compare: bool) -> Iterator[Flags]:
    """Yield flags where `terminals` end the recording and masks say what is solved."""
    for (start, stop), flags in zip(columns.blocks(), columns.flags(compare)):
        cuts = flags.terminals if flags.timeouts is None else flags.terminals | flags.timeouts
        yield flags._replace(terminals=_solved(masks, start, stop), timeouts=cuts)


def _solved(masks: Column, start: int, stop: int) -> np.ndarray:
    return np.asarray(masks.read(start, stop)).reshape(stop - start) == 0
