"""Split a store by whole episodes: every part is spread evenly over source, cluster and return.

The parts are files of one folder, which appears with all of them or not at all.  Where an episode goes is a
function of the seed, the content's fingerprint and the table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.core.atomic_files import new_folder
from trajrl.store.edit.rewrite import Edit, Show, answer, append, attributes_of, statistics_of
from trajrl.store.file.writer import StoreWriter
from trajrl.store.split import shared_out
from trajrl.store.store import TrajectoryStore

NAME = re.compile(r"[\w][\w.-]*")


def shares_of(words: Sequence[str]) -> dict[str, float]:
    """Read NAME:SHARE, several; the shares add up to 1."""
    found: dict[str, float] = {}
    for word in words:
        name, colon, number = word.rpartition(":")
        try:
            share = float(number)
        except ValueError:
            share = 0.0
        if not colon or not NAME.fullmatch(name) or not 0 < share < 1 or name in found:
            raise ValueError(
                f"'{word}' is not NAME:SHARE with a plain name of its own and a share between 0 and 1, "
                "such as train:0.8"
            )
        found[name] = share
    if len(found) < 2:
        raise ValueError("a split has two parts or more, such as train:0.8 val:0.2")
    if abs(sum(found.values()) - 1) > 1e-6:
        raise ValueError(f"the shares of a split add up to 1; these add up to {sum(found.values()):g}")
    return found


def write_parts(
    store: TrajectoryStore, shares: dict[str, float], folder: Path, seed: int, show: Show = iter
) -> dict[str, Any]:
    """Write every part to folder/NAME.h5, in one pass over the store; returns the counts of each."""
    chosen = dict(zip(shares, shared_out(store, list(shares.values()), seed)))
    edits = {
        name: Edit("split", {"part": name, "shares": shares, "seed": seed}, store, ids)
        for name, ids in chosen.items()
    }
    part_of = np.full(len(store), -1)
    for place, ids in enumerate(chosen.values()):
        part_of[ids] = place
    with new_folder(folder) as scratch:
        _write(store, edits, part_of, scratch, show)
        parts = {name: answer(edit, scratch / f"{name}.h5", edit.ids) for name, edit in edits.items()}
    for name, part in parts.items():
        part["out"] = str(folder / f"{name}.h5")
    return {"out": str(folder), "parts": parts}


def _write(
    store: TrajectoryStore, edits: dict[str, Edit], part_of: np.ndarray, folder: Path, show: Show
) -> None:
    """Append every episode to the file of its part."""
    with ExitStack() as stack:
        writers = []
        for name, edit in edits.items():
            place = folder / f"{name}.h5"
            writer = StoreWriter(place, attributes_of(edit, edit.ids), source=store.opened_from)
            writer.statistics = statistics_of(edit)
            writers.append((stack.enter_context(writer), edit))
        for e in show(store.live.tolist()):
            writer, edit = writers[part_of[e]]
            append(writer, edit, e)
