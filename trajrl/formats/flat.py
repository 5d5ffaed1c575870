"""Flat columns of a file without a layout of its own: the rules its flags ask for, the episodes they give.

With stored next observations a terminal ends an episode only where the next row does not follow.
`masks` beside `terminals` (OGBench tasks): terminals end the recording, a mask of 0 marks a solved step.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trajrl.formats.columns import Column
from trajrl.formats.options import Options
from trajrl.formats.transitions import Transitions
from trajrl.store.episode import Episode
from trajrl.store.notes import Notes
from trajrl.store.segment import Flags, Rows, Rules, cut, find_ends


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
