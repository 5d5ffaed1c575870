"""Flat transition rows -> episodes, over blocks of rows, so that a source larger than memory can be cut.

row t ends an episode  <=>  timeout[t] or reset[t] or start[t+1] or (terminal[t] and it is an end), or it is
                            a horizon-th row and a source has no timeouts; terminal wins over timeout
last observation o_T   =    next_obs[t] where stored; o_{T-1} again after a termination, where it is never
                            bootstrapped from; else the last action is given up, and counted
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from trajrl.store.episode import Episode
from trajrl.store.images import parted
from trajrl.store.notes import Notes

STORED, REPEATED, FOLLOWING, GIVEN_UP = range(4)  # where the last observation of an episode comes from


class Flags(NamedTuple):
    """What consecutive rows say about ends; all (n,) bool, None where a source has no such column."""

    terminals: np.ndarray  # the MDP ended at this row
    timeouts: np.ndarray | None = None  # the recording was cut after this row
    resets: np.ndarray | None = (
        None  # the next row does not follow from this one (False in the very last row)
    )
    starts: np.ndarray | None = None  # this row is the first of an episode


@dataclass(frozen=True)
class Rules:
    """How flags are read."""

    stored_next: bool = False  # every row has its own next observation
    terminals_end: bool = True  # False: terminals mark solved steps while the recording continues
    confirm: bool = False  # a terminal ends an episode only where `resets` says so too
    horizon: int = 0  # cut every so many rows where nothing else ends an episode; 0: never
    resets_known: bool = False  # where `resets` is False at an end, the next row is its last observation


class Ends(NamedTuple):
    """Where E episodes end: [stop[e-1], stop[e]), how, and where their last observation comes from."""

    stop: np.ndarray  # (E,) int64
    terminated: np.ndarray  # (E,) bool
    last: np.ndarray  # (E,) uint8


class Rows(NamedTuple):
    """Consecutive transitions."""

    obs: np.ndarray  # (n, obs), or images (n, height, width, channels) uint8
    actions: np.ndarray  # (n, act)
    rewards: np.ndarray  # (n,)
    next_obs: np.ndarray | None = None  # (n, obs)
    extras: Mapping[str, np.ndarray] = {}  # (n, ...)


Read = Callable[[int, int], Rows]  # rows [start, stop), asked for in order


@dataclass
class _Cursor:
    """The state between one block of flags and the next."""

    row: int = 0  # rows seen
    start: int = 0  # first row of the running episode
    held: tuple[bool, bool, bool] | None = None  # terminal, timeout, reset of the last row seen
    stop: list[int] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    last: list[int] = field(default_factory=list)


def find_ends(blocks: Iterable[Flags], rules: Rules, notes: Notes) -> Ends:
    """Find where episodes end; each block is looked at once, the counter restarts at 0 after each end."""
    cursor = _Cursor()
    for block in blocks:
        if len(block.terminals):
            _scan(cursor, block, rules, notes)
    if cursor.held is not None and cursor.start < cursor.row:
        _finish(cursor, rules, notes)
    return Ends(
        np.array(cursor.stop, np.int64), np.array(cursor.terminated, bool), np.array(cursor.last, np.uint8)
    )


def cut(read: Read, ends: Ends, notes: Notes, source: str = "") -> Iterator[Episode]:
    """Yield the episodes between the ends; rows are read in order, one episode at a time."""
    start = 0
    for e, stop in enumerate(ends.stop.tolist()):
        last, terminated = int(ends.last[e]), bool(ends.terminated[e])
        rows, first, start = read(start, stop), start, stop
        if last == GIVEN_UP:
            notes.add("dropped_steps", 1, f"row {stop - 1}")
            if stop - first == 1:
                notes.add("lost_episodes", 1, f"row {first}")
                continue
            kept = stop - first - 1
            extras = {name: column[:kept] for name, column in rows.extras.items()}
            seen, images = parted(rows.obs)
            yield Episode(
                seen, rows.actions[:kept], rows.rewards[:kept], terminated, None, source, extras, images
            )
            continue
        notes.add("repeated_last_obs", int(last == REPEATED), f"row {stop - 1}")
        final = _final(read, rows, last, stop)
        obs, images = parted(np.concatenate([rows.obs, final.astype(rows.obs.dtype)]))  # (T+1, obs)
        yield Episode(obs, rows.actions, rows.rewards, terminated, None, source, rows.extras, images)


def segment(
    rows: Rows, flags: Flags, rules: Rules | None = None, notes: Notes | None = None, source: str = ""
) -> Iterator[Episode]:
    """Cut rows held in memory; where next observations are stored, resets are found by comparing them."""
    notes = Notes() if notes is None else notes
    if rules is None:
        rules = Rules(stored_next=rows.next_obs is not None)
    if flags.resets is None and rows.next_obs is not None:
        flags = flags._replace(resets=differs(rows.next_obs, rows.obs))
        rules = Rules(True, rules.terminals_end, True, rules.horizon, rules.resets_known)
    length = len(rows.actions)
    for name, column in (*rows._asdict().items(), *flags._asdict().items(), *rows.extras.items()):
        if name != "extras" and column is not None and len(column) != length:
            raise ValueError(f"'{name}' has {len(column)} rows and actions {length}; they must be equal")

    def read(start: int, stop: int) -> Rows:
        part = {name: column[start:stop] for name, column in rows.extras.items()}
        after = None if rows.next_obs is None else rows.next_obs[start:stop]
        return Rows(rows.obs[start:stop], rows.actions[start:stop], rows.rewards[start:stop], after, part)

    return cut(read, find_ends([flags], rules, notes), notes, source)


def differs(next_obs: np.ndarray, obs: np.ndarray) -> np.ndarray:
    """Return where the stored next observation is not the following row (n,); False in the last row.

    `obs` may hold one row more than `next_obs`: then every row is compared.
    """
    count = min(len(next_obs), len(obs) - 1)
    after, here = next_obs[:count], obs[1 : count + 1]
    found = np.zeros(len(next_obs), bool)
    found[:count] = (np.abs(after - here) > 1e-5 * (1 + np.abs(here))).reshape(count, -1).any(1)
    return found


def _scan(cursor: _Cursor, block: Flags, rules: Rules, notes: Notes) -> None:
    """Look at one block; its last row waits for the next one, which may show that an episode starts."""
    first = cursor.row - (cursor.held is not None)  # number of the row held back, or of the block's first row
    terminal, timeout, reset, start = _columns(block, cursor.held)
    end, terminated = _ends(terminal, timeout, reset, start, rules, notes, first)
    for index in np.flatnonzero(end).tolist():
        _infer(cursor, first + index, rules, notes)
        follows = rules.resets_known and not (terminated[index] or reset[index] or start[index + 1])
        notes.add("cuts_without_reset", int(follows), f"row {first + index}")
        _close(
            cursor, first + index + 1, bool(terminated[index]), _last(bool(terminated[index]), follows, rules)
        )
    cursor.held = (bool(terminal[-1]), bool(timeout[-1]), bool(reset[-1]))
    cursor.row += len(block.terminals)
    _infer(cursor, cursor.row - 1, rules, notes)


def _infer(cursor: _Cursor, row: int, rules: Rules, notes: Notes) -> None:
    """Cut at the horizon, as often as it fits before `row`."""
    while rules.horizon and cursor.start + rules.horizon <= row:
        notes.add("inferred_ends", 1, f"row {cursor.start + rules.horizon - 1}")
        _close(cursor, cursor.start + rules.horizon, False, STORED if rules.stored_next else GIVEN_UP)


def _columns(block: Flags, held: tuple[bool, bool, bool] | None) -> tuple[np.ndarray, ...]:
    """Return terminal, timeout, reset and start as bool columns with the held row before them."""
    none = np.zeros(len(block.terminals), bool)
    columns = [
        none if c is None else np.asarray(c, bool) for c in (block.terminals, block.timeouts, block.resets)
    ]
    start = none if block.starts is None else np.asarray(block.starts, bool)
    if held is None:
        return *columns, start
    return *(np.concatenate([[flag], c]) for flag, c in zip(held, columns)), np.concatenate([[False], start])


def _ends(
    terminal: np.ndarray,
    timeout: np.ndarray,
    reset: np.ndarray,
    start: np.ndarray,
    rules: Rules,
    notes: Notes,
    base: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Decide for all rows but the last: does it end an episode, did the MDP end there; (n-1,) each."""
    begins = start[1:]
    terminal, timeout, reset = terminal[:-1], timeout[:-1], reset[:-1]
    broken = reset | begins
    ending = terminal & broken if rules.confirm else terminal & rules.terminals_end
    end = timeout | broken | ending
    _count(notes, "terminal_and_timeout", terminal & timeout, base)
    if rules.confirm:
        _count(notes, "unconfirmed_terminals", terminal & ~end, base)
    _count(notes, "unflagged_resets", reset & ~timeout & ~terminal & ~begins, base)
    return end, terminal


def _finish(cursor: _Cursor, rules: Rules, notes: Notes) -> None:
    """Close the last episode at the last row."""
    assert cursor.held is not None
    terminal, timeout, _ = cursor.held
    where = f"row {cursor.row - 1}"
    if not terminal and not timeout:
        full = rules.horizon and cursor.row - cursor.start == rules.horizon
        notes.add("inferred_ends" if full else "unfinished_tails", 1, where)
    notes.add("terminal_and_timeout", int(terminal and timeout), where)
    _close(cursor, cursor.row, terminal, _last(terminal, False, rules))


def _last(terminated: bool, follows: bool, rules: Rules) -> int:
    """Say where the last observation comes from."""
    if rules.stored_next:
        return STORED
    if terminated:
        return REPEATED
    return FOLLOWING if follows else GIVEN_UP


def _close(cursor: _Cursor, stop: int, terminated: bool, last: int) -> None:
    cursor.stop.append(stop)
    cursor.terminated.append(terminated)
    cursor.last.append(last)
    cursor.start = stop


def _final(read: Read, rows: Rows, last: int, stop: int) -> np.ndarray:
    """Return the last observation, (1, obs)."""
    if last == STORED:
        assert rows.next_obs is not None
        return rows.next_obs[-1:]
    if last == REPEATED:
        return rows.obs[-1:]
    return read(stop, stop + 1).obs


def _count(notes: Notes, name: str, where: np.ndarray, base: int) -> None:
    if where.any():
        notes.add(name, int(where.sum()), f"row {base + int(where.argmax())}")
