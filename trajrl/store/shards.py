"""Several store files as one store, without copying: tables one after the other, rows read where they lie.

    fingerprint of the whole = H("shards", the shards' own fingerprints in order); of one file, its own

Episode ids run on from file to file in the order given.  What decides how numbers are read (columns, widths,
types, action box, units, environment) must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trajrl.core.program import program
from trajrl.store.action_box import is_scaled, recorded_box
from trajrl.store.column import Column
from trajrl.store.file.describe import describe
from trajrl.store.file.head import SIZE, Head, read_head
from trajrl.store.file.reader import MEMORY, RAM_LIMIT_BYTES, Parts
from trajrl.store.places import join_places
from trajrl.store.remote.addresses import is_far
from trajrl.store.remote.far_head import read_far_head
from trajrl.store.shard_columns import mapped_rows, read_rows
from trajrl.store.shard_table import joined_attributes, joined_table

SAME = ("environment", "units")  # attributes that say how the numbers are meant


def read_shards(places: Sequence[str], memory: str = "auto") -> Parts:
    """Open store files as one, mapped or read into memory."""
    if memory not in MEMORY:
        raise ValueError(f"memory is auto, map or ram; got '{memory}'")
    heads = [head_of(place) for place in places]
    require_alike(heads)
    total = sum(layout.row_bytes * len(layout) for head in heads for layout in head.columns.values())
    packed = next((head for head in heads if head.packed), None)
    if packed and memory == "map":
        unpack = f"`{program()} store import {packed.place} --out X.h5` unpacks it"
        raise ValueError(f"{packed.place} is packed and cannot be mapped; {unpack}")
    far = any(map(is_far, places))
    mapped = memory == "map" or (memory == "auto" and not packed and (far or total > RAM_LIMIT_BYTES))
    columns = {name: Column((mapped_rows if mapped else read_rows)(heads, name)) for name in heads[0].columns}
    if len(heads) == 1:
        return Parts(columns, heads[0].table, heads[0].attributes)
    return Parts(columns, joined_table(heads), joined_attributes(heads))


def describe_places(places: Sequence[str]) -> dict[str, Any]:
    """Return what one store or several as one hold, as plain values; no column is read."""
    heads = [head_of(place) for place in places]
    sizes = [head.state[SIZE] for head in heads]
    if len(heads) == 1:
        return describe(heads[0], sizes[0])
    require_alike(heads)
    rows = {name: sum(len(head.columns[name]) for head in heads) for name in heads[0].columns}
    columns = {
        name: replace(
            layout, shape=(rows[name], *layout.shape[1:]), offset=None if any(h.packed for h in heads) else 0
        )
        for name, layout in heads[0].columns.items()
    }
    whole = Head(join_places(places), joined_table(heads), joined_attributes(heads), columns, ())
    return {**describe(whole, sum(sizes)), "files": len(heads)}


def head_of(place: str) -> Head:
    """Describe a store file, here or elsewhere."""
    return read_far_head(place) if is_far(place) else read_head(Path(place).expanduser())


def require_alike(heads: Sequence[Head]) -> None:
    """Refuse files whose numbers do not mean the same, and a file that is there twice; one line says what."""
    first, seen = heads[0], dict[str, Path | str]()
    for head in heads:
        if wrong := _unlike(head, first):
            raise ValueError(f"{head.place} {wrong}: they are not parts of one store")
        twin = seen.setdefault(str(head.attributes["fingerprint"]), head.place)
        if twin is not head.place:
            raise ValueError(f"{twin} and {head.place} hold the same episodes; name one of them")


def _unlike(head: Head, first: Head) -> str:
    """Say in what a file differs from the first; empty where it does not."""
    if missing := sorted(set(head.columns) ^ set(first.columns)):
        lacks = head.place if missing[0] in first.columns else first.place
        return f"and {first.place} have different columns: {lacks} has no {missing[0]}"
    for name, like in first.columns.items():
        mine = head.columns[name]
        if (mine.shape[1:], mine.dtype) != (like.shape[1:], like.dtype):
            return (
                f"has {name} of {mine.dtype} {mine.shape[1:]} a row, and {first.place} of {like.dtype} "
                f"{like.shape[1:]}"
            )
    width = first.columns["actions"].shape[1]
    box, other = (recorded_box(one.attributes, width) for one in (head, first))
    if (box is None) != (other is None) or (box is not None and other is not None and not box.same_as(other)):
        return f"has actions in the box {box or 'of nothing'}, and {first.place} in {other or 'none'}"
    if is_scaled(head.attributes) != is_scaled(first.attributes):
        return f"and {first.place} do not agree whether their actions are scaled to [-1, 1]"
    for name in SAME:
        said, theirs = (one.attributes.get(name) or "nothing" for one in (head, first))
        if said != theirs:
            return f"names {said} as its {name}, and {first.place} names {theirs}"
    return ""
