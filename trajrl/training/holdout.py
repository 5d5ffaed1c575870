"""Held-out episodes: whole offline episodes that a run never learns from, and measures itself on.

They are evicted from the run's store before anything is fitted, so samplers, normalisers, reward scales and
clusterings see the other episodes alone.  holdout.json in the run's folder names them: cluster labels, which
the choice heeds, may be written to the data later.  An online run keeps those of its offline run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajrl.core.atomic_files import write_text
from trajrl.core.console import say
from trajrl.core.json_file import as_written, read_object
from trajrl.store.split import stratified_share
from trajrl.store.store import MOMENTS
from trajrl.store.table import phase_code
from trajrl.training.config import RunConfig

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

NAME = "holdout.json"


def held_out(run: str | Path | RunConfig, store: TrajectoryStore) -> np.ndarray:
    """Return the ids (m,) int64, ascending, of the episodes that a run holds out; none: (0,).

    Args:
        run: its folder, or the config of one that has none yet
        store: its data as it was opened, before anything is shaped
    """
    if isinstance(run, RunConfig):
        return chosen(run, store)
    place = Path(run) / NAME
    if place.exists():
        return read(place, store)
    return chosen(RunConfig.load(Path(run) / "config.json"), store)


def hold_out(config: RunConfig, folder: Path, store: TrajectoryStore, write: bool = True) -> np.ndarray:
    """Take the held-out episodes out of all that a run learns from, and return their ids (m,).

    Args:
        write: note them in the folder, where that was not done
    """
    noted = (folder / NAME).exists()
    ids = read(folder / NAME, store) if noted else chosen(config, store)
    if not len(ids):
        say_none(config, store)
        return ids
    if write and not noted:
        kept = {"fingerprint": opened_as(store), "share": config.holdout, "episodes": ids.tolist()}
        write_text(folder / NAME, json.dumps(kept) + "\n")
    take_out(store, ids)
    say(line(store, ids))
    return ids


def take_out(store: TrajectoryStore, ids: np.ndarray) -> None:
    """Evict episodes (m,), and forget the statistics of steps that were taken over all of them."""
    if not len(ids):
        return
    store.evict(ids)
    known = store.attributes.get("statistics", {})
    store.attributes["statistics"] = {n: v for n, v in known.items() if not n.startswith(MOMENTS)}


def chosen(config: RunConfig, store: TrajectoryStore) -> np.ndarray:
    """Return what a config holds out of a store; of an online run, what its offline run holds out."""
    if config.online and (Path(config.from_run) / "config.json").exists():
        return held_out(Path(config.from_run), store)
    offline = int((store.table.phase == phase_code("offline")).sum())
    enough = offline >= config.holdout_min_episodes
    return stratified_share(store, config.holdout if enough else 0.0, config.seed)


def read(place: Path, store: TrajectoryStore) -> np.ndarray:
    """Read the ids (m,) that a run noted; a store that is other data is refused."""
    with as_written(place):
        kept = read_object(place)
        ids, known = np.array(kept["episodes"], np.int64), str(kept["fingerprint"])
        if ids.ndim != 1 or (np.diff(ids) <= 0).any() or (len(ids) and ids[0] < 0):
            raise ValueError("episodes are not ascending ids")
    found = str(store.attributes.get("fingerprint", known))
    if found != known or (len(ids) and ids[-1] >= len(store)):
        raise ValueError(
            f"{place.parent} holds out episodes of other data (fingerprint {found}, not {known}); give the "
            "data that it learned from"
        )
    return ids


def opened_as(store: TrajectoryStore) -> str:
    """Return the fingerprint of the data as it was opened."""
    return str(store.attributes.get("fingerprint") or store.fingerprint)


def summary(config: RunConfig, store: TrajectoryStore, ids: np.ndarray) -> dict[str, float]:
    """Return what summary.json says of the held-out episodes (m,)."""
    offline = int((store.table.phase == phase_code("offline")).sum())
    steps = int(store.table.length[ids].sum())
    return {"share": config.holdout, "episodes": len(ids), "of": offline, "steps": steps}


def line(store: TrajectoryStore, ids: np.ndarray) -> str:
    """Say how much is held out."""
    steps = int(store.table.length[ids].sum())
    whole = f"{len(ids)} of {len(ids) + len(store.live)} episodes, {steps} of {steps + store.num_steps} steps"
    return f"held out, to measure on: {whole} (--holdout 0 learns from all)"


def say_none(config: RunConfig, store: TrajectoryStore) -> None:
    """Say why the preset's share is not held out."""
    if config.holdout and not config.online:
        least = config.holdout_min_episodes
        say(f"nothing is held out: {len(store.live)} episodes are fewer than {least} (--holdout SHARE does)")
