"""Frames of a store as strips: whole episodes evenly, and the windows that a run drew most and least.

A window is shown from the first frame of its history to the frame where its bootstrap is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trajrl.core.rng import stream
from trajrl.report.charts import captions
from trajrl.report.draw.strip import png, side_by_side
from trajrl.store.notes import counted

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import WindowSpec

MOST_KEYS = 2  # images of one observation that are shown
IN_WINDOW, IN_EPISODE = 5, 8  # frames of a strip, at most
EACH = 5  # windows drawn most, and least


class Picture(NamedTuple):
    """One PNG, and what it shows in words."""

    png: bytes
    alt: str
    width: int  # pixels
    height: int


@dataclass(frozen=True)
class Strip:
    """Frames of one stretch of an episode, a picture for each image that is shown."""

    text: str
    pictures: list[Picture]


@dataclass(frozen=True, eq=False)
class Filmstrips:
    """Strips in groups that stand beside one another, each under its heading."""

    key: str
    title: str
    caption: str
    groups: dict[str, list[Strip]]


def episode_strips(store: TrajectoryStore, ids: Sequence[int], key: str) -> Filmstrips | None:
    """Return evenly spaced frames of episodes; None where there are no images."""
    if not store.images:
        return None
    strips = []
    for e in ids:
        last = int(store.table.length[e])
        text = f"episode {e}, {counted('step[s]', last)}, return {store.table.returns[e]:.5g}"
        strips.append(Strip(text, pictures(store, e, even_steps(store, e))))
    title = f"Frames of episode {ids[0]}" if len(ids) == 1 else "Frames of these episodes"
    return Filmstrips(key, title, captions.FRAMES + unshown(store), {"": strips})


def window_strips(
    store: TrajectoryStore, counts: np.ndarray, spec: WindowSpec, seed: int, key: str, role: str = ""
) -> Filmstrips:
    """Return the windows drawn most and least, by draws (S,) of each action row, none twice of an episode."""
    episode, step, draws, order = ranked(store, counts, seed)
    total = f"Of {counted('window[s]', len(draws))} each was drawn {draws.mean():.3g} times on average, and "
    total += f"{(draws == 0).mean():.0%} of them never. "
    groups = {}
    for name, ordered in (("Drawn most", order[::-1]), ("Drawn least", order)):
        _, first = np.unique(episode[ordered], return_index=True)
        chosen = ordered[np.sort(first)[:EACH]]
        groups[name] = [_window(store, int(episode[i]), int(step[i]), int(draws[i]), spec) for i in chosen]
    title = "Windows drawn most and least" + (f", for the {role}" if role else "")
    return Filmstrips(key, title, total + captions.WINDOWS + unshown(store), groups)


def ranked(
    store: TrajectoryStore, counts: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return every window's episode, step and draws (n,), and their order by draws, ties by chance."""
    ids = store.live
    length = store.table.length[ids]
    episode = np.repeat(ids, length)
    step = np.arange(len(episode)) - np.repeat(np.cumsum(length) - length, length)
    draws = counts[store.table.start[episode] + step]
    return episode, step, draws, np.lexsort((stream(seed, "report/windows").permutation(len(draws)), draws))


def _window(store: TrajectoryStore, e: int, step: int, draws: int, spec: WindowSpec) -> Strip:
    last = min(step + spec.n, int(store.table.length[e]))
    times = "never drawn" if not draws else "drawn once" if draws == 1 else f"drawn {draws:,} times"
    seen = evenly(max(0, step - spec.history + 1), last, IN_WINDOW)
    return Strip(f"episode {e}, step {step}, {times}", pictures(store, e, seen))


def pictures(store: TrajectoryStore, e: int, steps: np.ndarray) -> list[Picture]:
    """Return the frames of an episode at some steps, for each image that is shown."""
    at = ("steps " if len(steps) > 1 else "step ") + ", ".join(map(str, steps))
    found = []
    for name, frames in frames_of(store, e, steps).items():
        strip = side_by_side(frames)
        alt = f"{counted('frame[s]', len(steps))} of {name}, episode {e}, at {at}"
        found.append(Picture(png(strip), alt, strip.shape[1], strip.shape[0]))
    return found


def frames_of(store: TrajectoryStore, e: int, steps: np.ndarray) -> dict[str, np.ndarray]:
    """Return frames (n, height, width, channels) of an episode at steps (n,), of images that are shown."""
    rows = int(store.table.start[e]) + e + steps
    return {name: column.rows(rows) for name, column in list(store.images.items())[:MOST_KEYS]}


def evenly(first: int, last: int, most: int) -> np.ndarray:
    """Return at most so many steps from first to last, evenly apart, both among them."""
    return np.unique(np.linspace(first, last, min(most, last - first + 1)).round().astype(np.int64))


def even_steps(store: TrajectoryStore, e: int) -> np.ndarray:
    """Return the steps of an episode whose frames are shown."""
    return evenly(0, int(store.table.length[e]), IN_EPISODE)


def unshown(store: TrajectoryStore) -> str:
    """Say which images of an observation are not shown."""
    names = list(store.images)[MOST_KEYS:]
    return f" Not shown: {', '.join(names)}." if names else ""
