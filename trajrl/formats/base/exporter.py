"""Export: the episodes of a store in another format, and what only trajrl will find there again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trajrl.core.out_paths import kind_of, refuse_below_file, refuse_existing
from trajrl.store.action_box import recorded_box
from trajrl.store.column import Column
from trajrl.store.notes import counted
from trajrl.store.store import TrajectoryStore

FILMS = ("lerobot", "lerobot-v2.1")  # formats that hold images as video too
FOLDERS = (*FILMS, "minari")  # formats whose data sets are folders
SHOWS_IMAGES = (*FILMS, "npz", "ogbench", "robomimic")
Write = Callable[..., None]  # (store, path), and True where images are to be video


class Span(NamedTuple):
    """Where one episode lies in the columns of its store."""

    episode: int
    start: int  # first action row
    length: int
    obs_start: int  # first observation row
    terminated: bool


def export(
    store: TrajectoryStore,
    path: Path,
    write: Write,
    format: str,
    overwrite: bool = False,
    video: bool = False,
) -> dict[str, Any]:
    """Write the file or folder and return what it holds; a folder is never replaced."""
    if video and format not in FILMS:
        raise ValueError(f"video is for {' and '.join(FILMS)}; a {format} file holds images as they are")
    refuse_place(path, format, overwrite)
    if not len(store.live):
        raise ValueError("the store has not one episode to export")
    if store.images and format not in SHOWS_IMAGES:
        raise ValueError(
            f"a {format} file as trajrl writes it holds vectors, and this store has images "
            f"({', '.join(store.images)}): export it as {' or '.join(SHOWS_IMAGES)}"
        )
    if video and not store.images:
        raise ValueError("the store has no images that could be videos: leave --video out")
    write(store, path, *([True] if video else []))
    return {
        "format": format, "out": str(path), "episodes": len(store.live), "transitions": store.num_steps,
        "beside": beside(store, format),
    }  # fmt: skip


def refuse_place(path: Path, format: str, overwrite: bool) -> None:
    """Refuse a place that is taken; a folder is made new, whatever is asked for."""
    if format not in FOLDERS:
        refuse_existing(path, overwrite)
    elif found := kind_of(path):
        inside = path / ("set-v0" if format == "minari" else "set")
        raise FileExistsError(
            f"{path} is {found}: a {format} set is a new folder, and replaces nothing; name one that is not "
            f"there yet{f', such as {inside}' if found == 'a folder' else ''}"
        )
    else:
        refuse_below_file(path)


def size_on_disk(store: TrajectoryStore) -> int:
    """Return how many bytes an export takes at most: observations may be stored twice."""
    extras = sum(column.base.dtype.itemsize * int(np.prod(column.width)) for column in store.extras.values())
    row = 4 * (2 * store.obs_dim + store.action_dim + 1) + 16 + extras
    row += 2 * sum(int(np.prod(column.width)) for column in store.images.values())
    group = 4096 + 1024 * (len(store.extras) + 28)  # headers, where each episode has its own
    return store.num_steps * row + group * len(store.live) + (1 << 20)


def spans(store: TrajectoryStore) -> Iterator[Span]:
    """Yield where the episodes that are alive lie, in order."""
    table = store.table
    for e in store.live.tolist():
        start = int(table.start[e])
        yield Span(e, start, int(table.length[e]), start + e, bool(table.terminated[e]))


def observations(store: TrajectoryStore, span: Span) -> np.ndarray:
    """Return o_0 ... o_T of an episode, (T+1, obs)."""
    return store.obs.slice(span.obs_start, span.obs_start + span.length + 1)


def images(column: Column, span: Span) -> np.ndarray:
    """Return the frames of an episode, (T+1, height, width, channels)."""
    return column.slice(span.obs_start, span.obs_start + span.length + 1)


def steps(column: Column, span: Span) -> np.ndarray:
    """Return the rows of an episode's actions in a per-step column, (T, ...)."""
    return column.slice(span.start, span.start + span.length)


def solved(store: TrajectoryStore, span: Span) -> np.ndarray:
    """Return the steps nothing is bootstrapped after: terminal marks and a terminated end, (T,) bool."""
    marks = np.zeros(span.length, bool)
    if "terminal" in store.extras:
        marks |= steps(store.extras["terminal"], span)
    marks[-1] |= span.terminated
    return marks


def last_step(span: Span) -> np.ndarray:
    """Return (T,) bool, True at the last step."""
    return np.arange(span.length) == span.length - 1


def action_box(store: TrajectoryStore) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the box that the store's actions were recorded in, two (act,) arrays, where it is known."""
    box = recorded_box(store.attributes, store.action_dim)
    return (box.low, box.high) if box else None


def rate_of(store: TrajectoryStore) -> float:
    """Return how many steps a second the data came with, as its source said; 0: nothing says."""
    provenance = store.attributes.get("provenance")
    versions = provenance.get("versions") if isinstance(provenance, dict) else None
    rate = versions.get("fps") if isinstance(versions, dict) else None
    return float(rate) if isinstance(rate, int | float) and 0 < rate < 1e6 else 0.0


def beside(store: TrajectoryStore, format: str) -> list[str]:
    """Return what other readers will not see: trajrl leaves it beside the data and reads it again."""
    table, live = store.table, store.live
    rewards = store.rewards.slice(0, len(store.rewards))
    known = int((table.success[live] >= 0).sum())
    sources = len({name for name in table.source[live] if name})
    ended = int(table.terminated[live].sum())
    columns = len(set(store.extras) - {"terminal"})
    found = {
        "success": (known, "episode[s] [says whether it|say whether they] succeeded"),
        "some_success": (known % len(live), "episode[s] [says whether it|say whether they] succeeded"),
        "final": (len(live), "last observation[s]"),
        "rate": (
            int(not rate_of(store)),
            "rate of steps, which nothing names: times are written at 10 a second",
        ),
        "source": (sources, "source[s] [is|are] named"),
        "rewards": (int(np.count_nonzero(rewards)), "step[s] [has|have] a reward"),
        "terminated": (ended, "episode[s] [is|are] terminated"),
        "extras": (columns, "further column[s] [is|are] stored for each step"),
    }
    return [counted(text, count) for count, text in (found[name] for name in UNSEEN[format]) if count]


UNSEEN = {  # what a format has no place for
    "d4rl": ("success", "source"),
    "lerobot": ("final", "some_success", "rate"),
    "lerobot-v2.1": ("final", "some_success", "rate"),
    "minari": ("success", "source"),
    "npz": (),
    "ogbench": ("rewards", "terminated", "success", "source"),
    "robomimic": ("terminated", "success", "source", "extras"),
}
