"""Filter and delete: which episodes of a store stay.  A filter keeps what a question is true of, no more.

--episodes 3 17 20:30      ids, and half-open ranges [20, 30); :5 begins at 0, 90: goes on to the end
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from trajrl.core.registry import unknown as no_such
from trajrl.store.edit.rewrite import Edit
from trajrl.store.edit.values import CLUSTER
from trajrl.store.edit.where import where
from trajrl.store.episode import Episode
from trajrl.store.notes import counted
from trajrl.store.store import TrajectoryStore

MOST_NAMED = 200  # letters of a list of ids that provenance keeps


def kept_where(store: TrajectoryStore, text: str) -> tuple[Edit, int]:
    """Return the filter that keeps what a question is true of, and of how many it is not known."""
    found, live = where(store.table, text), store.live
    ids, unknown = live[found.yes[live]], int(found.unknown[live].sum())
    if not len(ids):
        because = f"; of {counted('episode[s]', unknown)} the answer is not known" if unknown else ""
        raise ValueError(f"no episode of the {len(live)} in {store.opened_from} fits the question{because}")
    return Edit("filter", {"where": text, "unknown": unknown}, store, ids), unknown


def without(
    store: TrajectoryStore, episodes: Sequence[str] = (), text: str = "",
    extras: Sequence[str] = (), labels: Sequence[str] = (),
) -> tuple[Edit, int]:  # fmt: skip
    """Return the edit that deletes episodes or columns, and of how many the answer is not known."""
    if episodes and text:
        raise ValueError(
            "give --episodes or --where; a question may name ids too: episode < 10 or not success"
        )
    if not (episodes or text or extras or labels):
        raise ValueError("nothing is named to delete: --episodes, --where, --extras or --labels")
    live, unknown = store.live, 0
    gone = np.zeros(len(store), bool)
    if text:
        found = where(store.table, text)
        gone, unknown = found.yes, int(found.unknown[live].sum())
    for word in episodes:
        gone[_range(word, len(store))] = True
    _refuse_absent("extra", extras, list(store.extras))
    _refuse_absent("table column", labels, store.table.extra_names)
    asked = {"episodes": " ".join(episodes)[:MOST_NAMED], "where": text, "extras": extras, "labels": labels}
    said = {name: value if isinstance(value, str) else list(value) for name, value in asked.items() if value}
    kept = {name: name for name in store.table.extra_names if name not in labels}
    drops = [f"extras/{name}" for name in extras]
    edit = Edit(
        "delete", {**said, "unknown": unknown}, store, live[~gone[live]], labels=kept, drops=drops,
        keeps_clusters=CLUSTER not in labels, change=_dropping(extras),
    )  # fmt: skip
    return edit, unknown


def _dropping(extras: Sequence[str]) -> Callable[[Episode], Episode]:
    """Return what takes per-step columns off an episode."""

    def change(episode: Episode) -> Episode:
        kept = {name: column for name, column in episode.extras.items() if name not in extras}
        return replace(episode, extras=kept)

    return change


def _range(word: str, size: int) -> slice:
    """Read an id or a half-open range of ids; one that names no episode is refused."""
    first, colon, last = word.partition(":")
    if not all(part.isascii() and part.isdigit() for part in (first, last) if part) or not (first or colon):
        raise ValueError(
            f"--episodes takes ids and ranges such as 3 17 20:30 (30 not included); got '{word}'"
        )
    start = int(first or 0)
    stop = int(last or size) if colon else start + 1
    if not start < stop <= size:
        raise ValueError(f"--episodes {word} names what is not there: ids run from 0 to {size - 1}")
    return slice(start, stop)


def _refuse_absent(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(
                no_such(kind, name, known) if known else f"no {kind} '{name}'; the store has none"
            )
