"""Write chosen episodes of one store to a new one, one at a time, in order: what every edit shares.  Several
files are one store, of which every edit makes one file.

Phase, success, source, per-step extras, table columns, clusters and attributes go along; what does not is
named.  Provenance has one more entry under "edits": what was asked, what was kept and what was dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.core.program import program
from trajrl.store.action_box import SCALED, is_scaled
from trajrl.store.edit.values import CLUSTER
from trajrl.store.episode import Episode
from trajrl.store.file.describe import describe_store
from trajrl.store.file.hdf5 import RESERVED, datasets, is_column, open_file
from trajrl.store.file.reader import RAM_LIMIT_BYTES
from trajrl.store.file.writer import StoreWriter
from trajrl.store.notes import counted
from trajrl.store.places import expand
from trajrl.store.remote.addresses import is_far
from trajrl.store.shards import head_of
from trajrl.store.store import MOMENTS, TrajectoryStore
from trajrl.store.table import PHASES

Show = Callable[[list[int]], Iterable[int]]  # the same items, shown as they go by
CLUSTERING = "clustering"  # attribute: how the labels came about


def unchanged(episode: Episode) -> Episode:
    """Return an episode as it is."""
    return episode


@dataclass(frozen=True)
class Edit:
    """What was asked of one store, and what becomes of it."""

    name: str  # of the command
    asked: Mapping[str, Any]
    store: TrajectoryStore
    ids: np.ndarray  # (n,) episodes kept, ascending
    change: Callable[[Episode], Episode] = unchanged
    attributes: Mapping[str, Any] = field(default_factory=dict)  # in place of the store's own
    labels: Mapping[str, str] | None = None  # table column -> its new name; None: all as they are
    drops: Sequence[str] = ()  # what else is left out, in words
    keeps_clusters: bool = True

    @property
    def names(self) -> dict[str, str]:
        """Return the table columns that go along, with their new names."""
        found = {name: name for name in self.store.table.extra_names} if self.labels is None else self.labels
        return {old: new for old, new in found.items() if self.keeps_clusters or old != CLUSTER}

    def left_out(self) -> list[str]:
        """Return what the new store does not have, in words."""
        names = self.names
        lost = [f"table/{name}" for name in self.store.table.extra_names if name not in names]
        lost += list(self.drops)
        return [*lost, "held-out episodes of runs, which name them by the old store's ids and fingerprint"]


def open_to_edit(path: Path) -> TrajectoryStore:
    """Open a store without holding it whole: mapped, or where it is packed and small, read."""
    with open_file(path) as file:
        packed = bool(file["actions"].chunks)
        num_bytes = sum(int(file[name].nbytes) for name in datasets(file) if is_column(name))
    if packed and num_bytes > RAM_LIMIT_BYTES:
        raise ValueError(
            f"{path} is packed and unpacks to {num_bytes >> 20} MiB; `{program()} store import {path} --out "
            "X.h5` unpacks it, and X.h5 is edited without being held whole"
        )
    return TrajectoryStore.open(path, "ram" if packed else "map")


def open_places_to_edit(words: Sequence[str]) -> TrajectoryStore:
    """Open one store, or several files and patterns as one; none of them is changed."""
    if far := next(filter(is_far, words), ""):
        raise ValueError(f"{far} lies elsewhere; an edit reads files of this machine: copy it here first")
    places = [str(Path(place).expanduser()) for place in expand(words)]
    if len(places) == 1:
        return open_to_edit(Path(places[0]))
    heads = [head_of(place) for place in places]
    packed = next((head for head in heads if head.packed), None)
    num_bytes = sum(layout.row_bytes * len(layout) for head in heads for layout in head.columns.values())
    if packed and num_bytes > RAM_LIMIT_BYTES:
        raise ValueError(
            f"{packed.place} is packed, and together these files are {num_bytes >> 20} MiB; `{program()} "
            f"store import {packed.place} --out X.h5` unpacks it, and X.h5 is edited without being held whole"
        )
    return TrajectoryStore.open(places, "ram" if packed else "map")


def write_edit(edit: Edit, out: Path, show: Show = iter) -> dict[str, Any]:
    """Write what an edit keeps to a store file, whole or not at all; returns the counts."""
    if not len(edit.ids):
        raise ValueError(f"nothing would be left of {edit.store.opened_from}: {out} was not written")
    kept, store = attributes_of(edit, edit.ids), edit.store
    with StoreWriter(out, kept, store.opened_from, read=[store]) as writer:
        writer.statistics = statistics_of(edit)
        for e in show(edit.ids.tolist()):
            append(writer, edit, e)
    return answer(edit, out, edit.ids)


def append(writer: StoreWriter, edit: Edit, e: int) -> None:
    """Write one episode, changed as asked, with its phase and table columns."""
    table = edit.store.table
    labels = {new: getattr(table, old)[e] for old, new in edit.names.items()}
    writer.append(edit.change(edit.store.episode(e)), PHASES[int(table.phase[e])], labels)


def answer(edit: Edit, out: Path, ids: np.ndarray) -> dict[str, Any]:
    """Return what was written, as plain values."""
    found = {"out": str(out), **entry(edit, ids)}
    return {**found, "fingerprint": describe_store(out)["fingerprint"]}


def entry(edit: Edit, ids: np.ndarray) -> dict[str, Any]:
    """Return what provenance says of an edit that keeps episodes (n,)."""
    store, table = edit.store, edit.store.table
    kept = {"episodes": len(ids), "transitions": int(table.length[ids].sum())}
    whole = {"episodes": len(store.live), "transitions": store.num_steps}
    more = store.opened_from.removeprefix(str(store.path))  # of several files: and how many
    path = store.path.name + more if store.path else ""
    return {
        "edit": edit.name, "asked": dict(edit.asked),
        "from": {"file": path, "fingerprint": store.fingerprint, **whole}, "kept": kept,
        "dropped": {name: whole[name] - kept[name] for name in whole}, "left_out": edit.left_out(),
    }  # fmt: skip


def attributes_of(edit: Edit, ids: np.ndarray) -> dict[str, Any]:
    """Return the attributes of the new store: the old ones but for what the edit changes."""
    old = edit.store.attributes
    kept = {name: value for name, value in old.items() if name not in RESERVED}
    if not edit.keeps_clusters:
        kept.pop(CLUSTERING, None)
    if is_scaled(old):
        kept[SCALED] = True
    kept["provenance"] = with_entry(old.get("provenance"), entry(edit, ids))
    return {name: value for name, value in {**kept, **edit.attributes}.items() if value is not None}


def with_entry(provenance: Any, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return where data came from, with one more edit at the end."""
    known = dict(provenance) if isinstance(provenance, Mapping) else {}
    return {**known, "edits": [*known.get("edits", ()), dict(new)]}


def statistics_of(edit: Edit) -> dict[str, np.ndarray]:
    """Return the arrays that belong to labels, such as the centres of clusters; moments are taken anew."""
    kept = edit.store.attributes.get("statistics", {})
    if not edit.keeps_clusters:
        return {}
    return {name: np.asarray(value) for name, value in kept.items() if not name.startswith(MOMENTS)}


def spoken(found: Mapping[str, Any]) -> list[str]:
    """Return what was written, in lines for a person."""
    kept, dropped = found["kept"], found["dropped"]
    lines = [
        f"kept {counted('episode[s]', kept['episodes'])}, {counted('step[s]', kept['transitions'])}; dropped "
        f"{counted('episode[s]', dropped['episodes'])}, {counted('step[s]', dropped['transitions'])}"
    ]
    lines += [f"not carried: {what}" for what in found["left_out"]]
    return [*lines, f"wrote {found['out']}; fingerprint {found['fingerprint']}"]
