"""A store as an npz of trajrl's own layout: the columns as they are, with the table of episodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trajrl.core.atomic_files import new_file
from trajrl.formats.base.episode_table import attributes_of, ledger_of
from trajrl.formats.base.exporter import images, observations, spans, steps
from trajrl.formats.npz.writer import NpzWriter
from trajrl.store.images import PREFIX
from trajrl.store.store import TrajectoryStore


def write_npz(store: TrajectoryStore, path: Path) -> None:
    """Write the file, one column after another."""
    count, episodes = store.num_steps, len(store.live)
    columns = {"actions": store.actions, "rewards": store.rewards}
    columns.update({f"extras/{name}": column for name, column in store.extras.items()})
    with new_file(path) as place, NpzWriter(place) as file:
        rows = (observations(store, span) for span in spans(store))
        file.column("obs", (count + episodes, store.obs_dim), np.dtype(np.float32), rows)
        for name, frames in store.images.items():
            shown = (images(frames, span) for span in spans(store))
            file.column(f"{PREFIX}{name}", (count + episodes, *frames.width), frames.base.dtype, shown)
        for name, column in columns.items():
            parts = (steps(column, span) for span in spans(store))
            file.column(name, (count, *column.width), column.base.dtype, parts)
        for name, values in ledger_of(store).items():
            file.array(name, values)
        file.array("trajrl", np.frombuffer(attributes_of(store).encode(), np.uint8))
