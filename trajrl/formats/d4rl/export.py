"""A store as a D4RL file: flat rows with stored next observations, so that no step is lost.

terminals[t] = terminal mark or terminated end        timeouts[t] = any other end        infos/<extra>
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trajrl.core.atomic_files import new_file
from trajrl.formats.base.episode_table import attributes_of, ledger_of
from trajrl.formats.base.exporter import last_step, observations, size_on_disk, solved, spans, steps
from trajrl.formats.base.hdf5 import hdf5_file
from trajrl.store.store import TrajectoryStore


def write_d4rl(store: TrajectoryStore, path: Path) -> None:
    """Write the file, one episode at a time."""
    count = store.num_steps
    with new_file(path) as place, hdf5_file(place, size_on_disk(store)) as file:
        columns = {
            "observations": file.create_dataset("observations", (count, store.obs_dim), np.float32),
            "next_observations": file.create_dataset("next_observations", (count, store.obs_dim), np.float32),
            "actions": file.create_dataset("actions", (count, store.action_dim), np.float32),
            "rewards": file.create_dataset("rewards", (count,), np.float32),
            "terminals": file.create_dataset("terminals", (count,), bool),
            "timeouts": file.create_dataset("timeouts", (count,), bool),
        }
        for name, extra in store.extras.items():
            columns[f"infos/{name}"] = file.create_dataset(
                f"infos/{name}", (count, *extra.width), extra.base.dtype
            )
        row = 0
        for span in spans(store):
            obs, rows = observations(store, span), slice(row, row + span.length)
            columns["observations"][rows], columns["next_observations"][rows] = obs[:-1], obs[1:]
            columns["actions"][rows] = steps(store.actions, span)
            columns["rewards"][rows] = steps(store.rewards, span)
            columns["terminals"][rows] = solved(store, span)
            columns["timeouts"][rows] = last_step(span) & (not span.terminated)
            for name, extra in store.extras.items():
                columns[f"infos/{name}"][rows] = steps(extra, span)
            row += span.length
        for name, values in ledger_of(store).items():
            file.create_dataset(f"trajrl/{name}", data=values)
        file["trajrl"].attrs["attributes"] = attributes_of(store)
