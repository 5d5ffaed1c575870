"""What a family's states say against its flags: jumps that are resets, timeouts that are none.

jump    |xy[t+1] - xy[t]| > family.jump, the next row is a new start
drift   fewer than nine in ten jumps fall on a timeout: the timeouts count wrongly and are ignored
joined  |q[t+1] - q[t]| at a timeout <= 2 max |q[s+1] - q[s]| over the episode so far
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from trajrl.formats.base.columns import Column
from trajrl.formats.base.transitions import Transitions
from trajrl.formats.d4rl.family import Family
from trajrl.store.notes import Notes
from trajrl.store.segment import Flags

IN_STEP = 0.9  # share of jumps on a timeout above which the timeouts are believed


class Corrections(NamedTuple):
    """Rows, in order, that change the flags of a file."""

    resets: np.ndarray  # (M,) the next row is a new start
    joined: np.ndarray  # (J,) timeouts that end nothing
    ignore_timeouts: bool = False
    ignore_terminals: bool = False

    def apply(self, flags: Flags, start: int, stop: int, num_rows: int) -> Flags:
        """Return the flags of rows [start, stop) as they should have been."""
        jumps = _mask(self.resets, start, stop)
        resets = flags.resets | jumps if flags.resets is not None else jumps
        timeouts = flags.timeouts
        if timeouts is not None:
            timeouts = timeouts & ~_mask(self.joined, start, stop)
            if self.ignore_timeouts:
                timeouts = np.zeros_like(timeouts)
                timeouts[-1] = stop == num_rows and flags.timeouts is not None and flags.timeouts[-1]
        return flags._replace(timeouts=timeouts, resets=resets)


def correct(columns: Transitions, family: Family, ends: str, notes: Notes) -> Corrections:
    """Look through a file once and say which of its flags are wrong."""
    none = np.empty(0, np.int64)
    stored = "next_obs" in columns.roles
    if ends == "flags":
        return Corrections(none, none)
    resets = none if stored or not family.jump else np.array(list(_jumps(columns, family.jump)), np.int64)
    timeouts = _timeouts(columns)
    joined = none
    if family.joins in columns.extras and not stored:
        joined = np.array(list(_joined(columns, columns.extras[family.joins])), np.int64)
        notes.add("joined_cuts", len(joined), f"row {joined[0]}" if len(joined) else "")
    ignore = ends == "resets" or (bool(len(resets)) and not family.runs_on and _drifted(resets, timeouts))
    if ignore:
        notes.add("ignored_timeouts", len(timeouts), f"row {timeouts[0]}" if len(timeouts) else "")
    if ignore and ends == "auto":
        resets = _with_period(resets, columns.num_rows, notes)
    return Corrections(resets, joined, ignore)


def _mask(rows: np.ndarray, start: int, stop: int) -> np.ndarray:
    mask = np.zeros(stop - start, bool)
    mask[rows[(rows >= start) & (rows < stop)] - start] = True
    return mask


def _timeouts(columns: Transitions) -> np.ndarray:
    """Return the rows with a timeout."""
    if "timeouts" not in columns.roles:
        return np.empty(0, np.int64)
    return np.flatnonzero(columns.whole_flag("timeouts"))


def _jumps(columns: Transitions, distance: float) -> Iterator[int]:
    """Yield the rows after which the position is somewhere else."""
    for start, stop in columns.blocks():
        place = columns.wide("obs", start, min(stop + 1, columns.num_rows))[:, :2]  # (n+1, 2)
        yield from (
            start + np.flatnonzero(np.linalg.norm(np.diff(place, axis=0), axis=1) > distance)
        ).tolist()


def _drifted(jumps: np.ndarray, timeouts: np.ndarray) -> bool:
    """Say whether resets and timeouts disagree."""
    return bool(len(timeouts)) and float(np.isin(jumps, timeouts).mean()) < IN_STEP


def _with_period(resets: np.ndarray, num_rows: int, notes: Notes) -> np.ndarray:
    """Add the resets that happened without a jump: several usual lengths in a row are cut at each."""
    borders = np.concatenate([[-1], resets, [num_rows - 1]])
    lengths = np.diff(borders)
    values, counts = np.unique(lengths, return_counts=True)
    usual = int(values[counts.argmax()])
    if counts.max() < max(2, len(lengths) / 2):
        return resets
    long = (lengths > usual) & (lengths % usual == 0)
    added = [int(borders[i]) + usual * k for i in np.flatnonzero(long) for k in range(1, lengths[i] // usual)]
    notes.add("inferred_ends", len(added), f"row {added[0]}" if added else "")
    return np.sort(np.concatenate([resets, np.array(added, np.int64)]))


def _joined(columns: Transitions, place: Column) -> Iterator[int]:
    """Yield the timeouts over which the joints run on as in the steps before."""
    largest = 0.0  # of the running episode
    for start, stop in columns.blocks():
        ahead = min(stop + 1, columns.num_rows)
        rows = place.read(start, ahead).reshape(ahead - start, -1).astype(np.float64)
        step = np.linalg.norm(np.diff(rows, axis=0), axis=1)  # (n,), one fewer in the last block
        timeouts, terminals = columns.flag("timeouts", start, stop), columns.flag("terminals", start, stop)
        if timeouts is None or terminals is None:
            return
        first = 0
        for index in np.flatnonzero((timeouts | terminals)[: len(step)]).tolist():
            largest = max(largest, float(step[first:index].max(initial=0.0)))
            first = index + 1
            if timeouts[index] and not terminals[index] and step[index] <= 2 * largest:
                yield start + index
            else:
                largest = 0.0
        largest = max(largest, float(step[first:].max(initial=0.0)))
