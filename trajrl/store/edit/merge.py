"""Merge stores: all episodes of all of them, in order.  What they hold must mean the same in each.

dims, action box, per-step extras, units, environment                            agree, or nothing is written
table columns that all have under one type, clusters where the centres are one   kept, else named
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.store.action_box import SCALED, box_origin, is_scaled, recorded_box
from trajrl.store.edit.rewrite import CLUSTERING
from trajrl.store.edit.values import CLUSTER
from trajrl.store.episode import Episode
from trajrl.store.file.describe import describe_store
from trajrl.store.file.writer import StoreWriter
from trajrl.store.hashing import new_hash
from trajrl.store.notes import amount, counted
from trajrl.store.store import TrajectoryStore
from trajrl.store.table import PHASES

Place = tuple[TrajectoryStore, int]
Show = Callable[[list[Place]], Iterable[Place]]
MARKS = "terminal"  # a store without marks is one in which no step is marked


def refuse_disagreement(stores: Sequence[TrajectoryStore]) -> None:
    """Refuse stores that do not mean the same, in one line that says what does not."""
    if len(stores) < 2:
        raise ValueError("a merge takes two stores or more")
    first = stores[0]
    for store in stores[1:]:
        for what, of in FACTS.items():
            one, two = of(first), of(store)
            if one != two:
                advice = ADVICE.get(what, "")
                raise ValueError(
                    f"{first.path} and {store.path} do not agree in {what}: {one} and {two}{advice}"
                )
    _refuse_twins(stores)


def _widths(store: TrajectoryStore) -> str:
    shown = "".join(f", {name} of {_shape(shape)}" for name, shape in sorted(store.image_shapes.items()))
    return (
        f"observations of {_shape(store.obs.width)}, actions of {_shape(store.actions.width)} numbers{shown}"
    )


def _shape(width: tuple[int, ...]) -> str:
    return " x ".join(map(str, width))


def _box(store: TrajectoryStore) -> str:
    if is_scaled(store.attributes):
        return "trajrl's own [-1, 1]"
    box = recorded_box(store.attributes, store.action_dim)
    return str(box) if box else "none"


def _extras(store: TrajectoryStore) -> str:
    found = [
        f"{name} ({column.base.dtype}{f' x {_shape(column.width)}' if column.width else ''})"
        for name, column in sorted(store.extras.items())
        if name != MARKS
    ]
    return ", ".join(found) or "none"


def _units(store: TrajectoryStore) -> str:
    units = store.attributes.get("units") or {}
    return ", ".join(f"{name} in {units[name]}" for name in sorted(units)) or "none"


def _environment(store: TrajectoryStore) -> str:
    return str(store.attributes.get("environment") or "none")


FACTS: dict[str, Callable[[TrajectoryStore], str]] = {
    "dims": _widths, "action box": _box, "extras": _extras, "units": _units, "environment": _environment,
}  # fmt: skip
ADVICE = {
    "environment": "; where both are the same one, `store rename --env ID` gives it one name",
    "extras": "; `store delete --extras NAME` takes one out, `store rename --extras OLD=NEW` renames it",
    "action box": "; `store import X.h5 --action-box LOW HIGH --out Y.h5` names one where none is",
}


def _refuse_twins(stores: Sequence[TrajectoryStore]) -> None:
    seen: dict[str, TrajectoryStore] = {}
    for store in stores:
        twin = seen.setdefault(store.fingerprint, store)
        if twin is not store:
            raise ValueError(f"{twin.path} and {store.path} hold the same episodes; name one of them")


def write_merged(stores: Sequence[TrajectoryStore], out: Path, show: Show = iter) -> dict[str, Any]:
    """Write all episodes of all stores; returns counts, what was left out, and how many came twice."""
    refuse_disagreement(stores)
    labels, left_out = common_labels(stores)
    parts = [
        {"source": store.path.name if store.path else "", "episodes": len(store.live),
         "transitions": store.num_steps, "fingerprint": store.fingerprint} for store in stores
    ]  # fmt: skip
    seen: set[bytes] = set()
    with StoreWriter(out, _attributes(stores, labels, left_out, parts), read=stores) as writer:
        if CLUSTER in labels:
            writer.statistics = _clustering(stores[0])[1]
        for store, e in show([(one, int(e)) for one in stores for e in one.live]):
            episode = _with_marks(_named(store, store.episode(e)), stores)
            seen.add(_hash(episode))
            phase = PHASES[int(store.table.phase[e])]
            writer.append(episode, phase, {name: getattr(store.table, name)[e] for name in labels})
        episodes, transitions = len(writer.table), writer.num_steps
    return {
        "out": str(out), "parts": parts, "episodes": episodes, "transitions": transitions,
        "twice": episodes - len(seen), "left_out": left_out,
        "fingerprint": describe_store(out)["fingerprint"],
    }  # fmt: skip


def common_labels(stores: Sequence[TrajectoryStore]) -> tuple[list[str], list[str]]:
    """Return the table columns that all stores have under one type, and what is left out, in words."""
    tables = [store.table for store in stores]
    kinds = [{name: getattr(table, name).dtype.str for name in table.extra_names} for table in tables]
    every = dict.fromkeys(name for found in kinds for name in found)
    kept = [name for name in every if all(found.get(name) == kinds[0].get(name) for found in kinds)]
    if CLUSTER in kept and not _same_clustering(stores):
        kept.remove(CLUSTER)
    return kept, [f"table/{name}" for name in every if name not in kept]


def _same_clustering(stores: Sequence[TrajectoryStore]) -> bool:
    """Say whether labels of all stores refer to the same centres, as those of parts of one store do."""
    attribute, arrays = _clustering(stores[0])
    for store in stores[1:]:
        other, rows = _clustering(store)
        alike = rows.keys() == arrays.keys() and all(
            np.array_equal(rows[name], arrays[name]) for name in rows
        )
        if other != attribute or not alike:
            return False
    return bool(arrays)


def _clustering(store: TrajectoryStore) -> tuple[Any, Mapping[str, np.ndarray]]:
    kept = store.attributes.get("statistics", {})
    arrays = {name: np.asarray(rows) for name, rows in kept.items() if name.startswith(f"{CLUSTER}_")}
    return store.attributes.get(CLUSTERING), arrays


def _attributes(
    stores: Sequence[TrajectoryStore], labels: Sequence[str], left_out: Sequence[str], parts: Sequence[Any]
) -> dict[str, Any]:
    """Return what all stores say of themselves, which is the same, and where each comes from."""
    first = stores[0].attributes
    kept = {name: first[name] for name in ("environment", "units") if first.get(name)}
    if is_scaled(first):
        kept[SCALED] = True
    box = recorded_box(first, stores[0].action_dim)
    if box is not None:
        origins = dict.fromkeys(box_origin(store.attributes) for store in stores)
        kept |= box.attributes("; ".join(origins))
    if CLUSTER in labels:
        kept[CLUSTERING] = first[CLUSTERING]
    origins_of = [store.attributes.get("provenance", {}) for store in stores]
    kept["provenance"] = {
        "format": "merge", "parts": list(parts), "origins": origins_of, "left_out": list(left_out),
        "counts": {},
    }  # fmt: skip
    return kept


def _named(store: TrajectoryStore, episode: Episode) -> Episode:
    """Give an episode without a source its file's name."""
    return episode if episode.source or not store.path else replace(episode, source=store.path.stem)


def _with_marks(episode: Episode, stores: Sequence[TrajectoryStore]) -> Episode:
    """Give an episode of a store without marks a column without any, where another store has marks."""
    if MARKS in episode.extras or not any(MARKS in store.extras for store in stores):
        return episode
    return replace(episode, extras={**episode.extras, MARKS: np.zeros(len(episode), bool)})


def _hash(episode: Episode) -> bytes:
    state = new_hash()
    for column in (episode.obs, episode.actions, episode.rewards, *episode.images.values()):
        state.update(np.ascontiguousarray(column).data)
    return state.digest()


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was written, in lines for a person."""
    for part in found["parts"]:
        yield f"{part['source']}: {amount(part, 'step')}"
    for what in found["left_out"]:
        yield f"not carried, because the stores do not share it: {what}"
    if found["twice"]:
        mend = f"`store doctor {found['out']} --fix --out X.h5` leaves them out"
        yield f"{counted('episode[s]', found['twice'])} came twice; {mend}"
    yield f"{amount(found, 'step')}; fingerprint {found['fingerprint']}"
