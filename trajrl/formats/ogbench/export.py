"""A store as an OGBench file: T+1 rows for each trajectory, `terminals` at the last, whose action is zero.

Rewards and the table of episodes are members of their own (`trajrl_*`), which OGBench's loader passes over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from trajrl.core.atomic_files import new_file
from trajrl.formats.base.episode_table import attributes_of, ledger_of
from trajrl.formats.base.exporter import Span, images, spans, steps
from trajrl.formats.npz.writer import NpzWriter
from trajrl.store.column import Column
from trajrl.store.images import described
from trajrl.store.store import TrajectoryStore


def write_ogbench(store: TrajectoryStore, path: Path) -> None:
    """Write the file, one column after another."""
    rows = store.num_steps + len(store.live)
    with new_file(path) as place, NpzWriter(place) as file:

        def column(
            name: str, width: tuple[int, ...], dtype: np.dtype, of: Callable[[Span], np.ndarray]
        ) -> None:
            file.column(name, (rows, *width), dtype, (of(span) for span in spans(store)))

        seen = _seen(store)
        column("observations", seen.width, seen.base.dtype, partial(images, seen))
        for name, kept in _columns(store):
            column(name, kept.width, kept.base.dtype, partial(_padded, kept))
        column("terminals", (), np.dtype(bool), lambda span: np.arange(span.length + 1) == span.length)
        for name, values in ledger_of(store).items():
            file.array(f"trajrl_{name}", values)
        file.array("trajrl_attributes", np.frombuffer(attributes_of(store).encode(), np.uint8))


def _seen(store: TrajectoryStore) -> Column:
    """Return the one column of observations that such a file holds: vectors, or one kind of images."""
    if not store.images:
        return store.obs
    if store.obs_dim or len(store.images) > 1:
        held = described(store.obs_dim, store.image_shapes)
        raise ValueError(f"an OGBench file holds one image or one vector; this store has {held}")
    return next(iter(store.images.values()))


def _columns(store: TrajectoryStore) -> Iterator[tuple[str, Column]]:
    yield "actions", store.actions
    yield "trajrl_rewards", store.rewards
    yield from store.extras.items()


def _padded(column: Column, span: Span) -> np.ndarray:
    """Return the rows of an episode, and one more that leads nowhere."""
    rows = steps(column, span)
    return np.concatenate([rows, np.zeros_like(rows[:1])])
