"""One episode over its steps: rewards, the return so far, actions, observations; and several together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trajrl.report.charts import captions
from trajrl.report.charts.chart import Chart, Series

if TYPE_CHECKING:
    from trajrl.store.episode import Episode
    from trajrl.store.store import TrajectoryStore

MOST_LINES = 6  # dimensions in one chart: those that move most
MOST_STEPS = 1000  # points of a line; longer ones are thinned evenly, and the title says so


def episode_charts(episode: Episode, key: str, name: str) -> list[Chart]:
    """Return rewards, actions and observations of an episode over its steps; `name` says which one it is."""
    grown = _so_far(episode.rewards)[:, None]
    columns = {
        "rewards": ("Rewards", episode.rewards[:, None], captions.REWARDS, "reward"),
        "return": ("Return so far", grown, captions.RETURN_SO_FAR, "return so far"),
        "actions": ("Actions", episode.actions, captions.ACTIONS, "action"),
        "obs": ("Observations", episode.obs, captions.OBSERVATIONS, "obs"),
    }  # fmt: skip
    for image, frames in episode.images.items():
        words = captions.BRIGHTNESS, "brightness"
        columns[f"images-{image}"] = (f"Brightness of {image}", brightness(frames)[:, None], *words)
    return [
        _over_steps(column, f"{key}-{part}", f"{title}, {name}", caption, label)
        for part, (title, column, caption, label) in columns.items()
        if column.shape[1]
    ]


def brightness(frames: np.ndarray) -> np.ndarray:
    """Return the mean of every image (n, height, width, channels) of bytes, from 0 to 1: (n,)."""
    return frames.reshape(len(frames), -1).mean(1, dtype=np.float64) / 255


def _so_far(rewards: np.ndarray) -> np.ndarray:
    return np.cumsum(rewards, dtype=np.float64)


def quantile_episodes(store: TrajectoryStore, count: int = 5) -> list[int]:
    """Return ids of episodes from the least return to the most, evenly apart in rank, each once."""
    live = store.live
    order = live[np.argsort(store.table.returns[live], kind="stable")]
    place = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))
    return order[place].tolist()


def returns_so_far(store: TrajectoryStore, ids: Sequence[int]) -> Chart:
    """Return how the return of episodes grows over their steps."""
    series, thinned = [], False
    for place, e in enumerate(ids):
        start, length = int(store.table.start[e]), int(store.table.length[e])
        grown = _so_far(store.rewards.slice(start, start + length))
        steps, thin = thin_steps(length)
        thinned |= thin
        name = f"episode {e}, return {store.table.returns[e]:.5g}"
        series.append(Series(name, steps, grown[steps], place=place))
    title = "How returns grow" + (f" (every line at {MOST_STEPS} steps)" if thinned else "")
    return Chart("samples-returns", title, captions.SAMPLES, "step", "return so far", series)


def thin_steps(length: int) -> tuple[np.ndarray, bool]:
    """Return the steps that are drawn, evenly, both ends among them, and whether any are left out."""
    if length <= MOST_STEPS:
        return np.arange(length), False
    return np.linspace(0, length - 1, MOST_STEPS).astype(np.int64), True


def most_moving(column: np.ndarray, most: int = MOST_LINES) -> np.ndarray:
    """Return the dimensions of rows (T, n) whose numbers are spread most, in order of number."""
    spread = np.nan_to_num(column.astype(np.float64).std(0))
    return np.sort(np.argsort(-spread, kind="stable")[:most])


def _over_steps(column: np.ndarray, key: str, title: str, caption: str, label: str) -> Chart:
    """Return a chart of rows (T, n) over steps, one line for each dimension that moves most."""
    dims, (steps, thinned) = most_moving(column), thin_steps(len(column))
    some = (
        f" ({len(dims)} of {column.shape[1]} dimensions, which move most)"
        if len(dims) < column.shape[1]
        else ""
    )
    some += f" (at {MOST_STEPS} of {len(column)} steps)" if thinned else ""
    series = [
        Series(label if column.shape[1] == 1 else f"{label} {d}", steps, column[steps, d], place=place)
        for place, d in enumerate(dims.tolist())
    ]
    return Chart(key, title + some, caption, "step", label, series)
