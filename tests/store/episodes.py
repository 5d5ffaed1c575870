"""Small episodes for the tests of the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from trajrl import Anchors, Episode, TrajectoryStore
from trajrl.core.rng import stream
from trajrl.store.file.writer import StoreWriter


def counting(
    length: int, terminated: bool = False, marks: list[int] | None = None, first: float = 0, **fields
) -> Episode:
    """Make an episode that describes itself: observation = step, action = step / 10, reward = 1."""
    steps = np.arange(length + 1, dtype=np.float32)[:, None] + first
    extras = dict(fields.pop("extras", {}))
    if marks is not None:
        extras["terminal"] = np.isin(np.arange(length), marks)
    return Episode(steps, steps[:-1] / 10, np.ones(length), terminated, extras=extras, **fields)


def random_episode(
    seed: int, index: int, marks: bool = False, obs_dim: int = 3, action_dim: int = 2
) -> Episode:
    """Make an episode of 1 to 12 steps with random numbers, ends and marks."""
    rng = stream(seed, "test", index)
    length = int(rng.integers(1, 13))
    return Episode(
        rng.standard_normal((length + 1, obs_dim)), rng.standard_normal((length, action_dim)),
        rng.standard_normal(length), bool(rng.integers(2)), success=[None, True, False][index % 3],
        source=f"source {index % 2}", extras={"terminal": rng.random(length) < 0.15} if marks else {},
    )  # fmt: skip


def filmed(seed: int, index: int, obs_dim: int = 2, **fields) -> Episode:
    """Make a random episode with two images: every byte of frame u of `front` is u + 1, `side` is noise."""
    plain = random_episode(seed, index, obs_dim=obs_dim)
    rng, rows = stream(seed, "film", index), len(plain) + 1
    front = np.broadcast_to(np.arange(1, rows + 1, dtype=np.uint8)[:, None, None, None], (rows, 4, 5, 3))
    side = rng.integers(0, 256, (rows, 3, 2, 1), np.uint8)
    return replace(plain, images={"side": side, "front": front}, **fields)


def every_anchor(store: TrajectoryStore) -> Anchors:
    """Return each step of each episode once."""
    length = store.table.length
    episode = np.repeat(np.arange(len(store)), length)
    step = np.arange(len(episode)) - np.repeat(np.cumsum(length) - length, length)
    return Anchors(episode, step, np.ones(len(episode), np.float32))


def write(path: Path, episodes: Iterable[Episode], **attributes) -> Path:
    """Write episodes to a store file; every second one has the label `train`."""
    with StoreWriter(path, attributes) as writer:
        for index, episode in enumerate(episodes):
            writer.append(episode, labels={"train": index % 2 == 0})
    return path


def assert_same(left: Episode, right: Episode) -> None:
    """Compare two episodes, number by number."""
    for name in ("obs", "actions", "rewards"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    assert (left.terminated, left.success, left.source) == (right.terminated, right.success, right.source)
    assert list(left.images) == list(right.images)
    for name, frames in left.images.items():
        np.testing.assert_array_equal(frames, right.images[name])
    assert set(left.extras) == set(right.extras)
    for name, column in left.extras.items():
        np.testing.assert_array_equal(column, right.extras[name])
        assert column.dtype == right.extras[name].dtype
