"""The episode tables and attributes of several files, joined: what the whole says of itself.

fingerprint = H("shards", the shards' own fingerprints in order); of one file, its own
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trajrl.core.console import say
from trajrl.store.action_box import SCALED, box_origin, is_scaled, recorded_box
from trajrl.store.file.head import Head
from trajrl.store.hashing import new_hash
from trajrl.store.moments import Moments
from trajrl.store.table import CORE, Table

OWN = {"clustering": "cluster"}  # attributes that speak of one file's episodes -> the label they go with


def joined_fingerprint(fingerprints: Sequence[str]) -> str:
    """Return the fingerprint of shards in their order."""
    if len(fingerprints) == 1:
        return fingerprints[0]
    state = new_hash()
    state.update("\n".join(("shards", *fingerprints)).encode())
    return state.hexdigest()


def joined_table(heads: Sequence[Head]) -> Table:
    """Return the tables one after the other; labels that all files have, of one type, are kept."""
    table, kept = Table(), _common_labels(heads)
    steps = 0
    for head in heads:
        own = head.table
        columns = {name: getattr(own, name) for name in (*CORE, *kept)}
        table.extend(columns | {"start": own.start + steps}, own.sources)
        steps += len(head.columns["actions"])
    for name in kept:
        values = np.concatenate([getattr(head.table, name) for head in heads])
        table.set(name, values, fill=-1 if values.dtype.kind == "i" else 0)
    left = sorted({name for head in heads for name in head.table.extra_names} - set(kept))
    if left:
        say(f"labels of single files are left out: {', '.join(left)}")
    return table


def _common_labels(heads: Sequence[Head]) -> list[str]:
    """Return the further columns that mean the same in all files; a clustering is one file's own."""
    own = {label for name, label in OWN.items() if any(name in head.attributes for head in heads)}
    kinds = [{name: getattr(head.table, name).dtype for name in head.table.extra_names} for head in heads]
    return [n for n, kind in kinds[0].items() if n not in own and all(k.get(n) == kind for k in kinds)]


def joined_attributes(heads: Sequence[Head]) -> dict[str, Any]:
    """Return what all files say alike, with moments over all steps, and where each came from."""
    first, *others = (head.attributes for head in heads)
    left_out = {*OWN, "statistics", "seal"}
    kept = {n: v for n, v in first.items() if n not in left_out and all(o.get(n) == v for o in others)}
    width = heads[0].columns["actions"].shape[1]
    if box := recorded_box(first, width):
        kept |= box.attributes("; ".join(dict.fromkeys(box_origin(head.attributes) for head in heads)))
    if is_scaled(first):
        kept[SCALED] = True
    prints = [str(head.attributes["fingerprint"]) for head in heads]
    kept["provenance"] = {**_joined_provenance(heads), "shards": prints}
    kept["fingerprint"], kept["statistics"] = joined_fingerprint(prints), _joined_moments(heads)
    return kept


def _joined_provenance(heads: Sequence[Head]) -> dict[str, Any]:
    """Return what all files say alike of where they are from, and their counts added up."""
    first, *others = (head.attributes.get("provenance") or {} for head in heads)
    alike = {name: value for name, value in first.items() if all(o.get(name) == value for o in others)}
    counts: dict[str, int] = {}
    for origin in (first, *others):
        for name, number in origin.get("counts", {}).items():
            counts[name] = counts.get(name, 0) + number
    return {"format": "shards", **alike, "counts": counts}


def _joined_moments(heads: Sequence[Head]) -> dict[str, np.ndarray]:
    """Return mean, std, min and max over the rows of all files; nothing where a file lacks its own."""
    found: dict[str, np.ndarray] = {}
    for prefix, column in {"obs": "obs", "action": "actions", "reward": "rewards"}.items():
        whole = Moments()
        for head in heads:
            own = head.attributes["statistics"]
            if f"{prefix}_mean" not in own:
                return {}
            whole.join(Moments.of(own, prefix, len(head.columns[column])))
        found |= whole.named(prefix)
    return found
