"""What a run was trained on and what it learned, opened again for pictures: its data, agent and episodes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from trajrl.agents.base.protocol import Agent
    from trajrl.samplers.clustering.states import StateClusters
    from trajrl.store.store import TrajectoryStore


def open_store(folder: str | Path) -> TrajectoryStore:
    """Open the data of a run as its training saw it: shaped, and with the episodes it collected itself.

    Those that it held out are not alive.
    """
    from trajrl.store.journal import NAME, replay
    from trajrl.training.action_units import trained_units
    from trajrl.training.config import RunConfig
    from trajrl.training.data import find_suite, shape
    from trajrl.training.data import open_data as open_training_data
    from trajrl.training.holdout import held_out, take_out
    from trajrl.training.run_dir.load_run import load_run

    config = RunConfig.load(Path(folder) / "config.json")
    store = open_training_data(config)
    units = trained_units(store, config.actions, load_run(folder).kept_action_box())
    take_out(store, held_out(folder, store))
    shape(store, config, find_suite(config, store), units)
    journal = Path(folder) / "journal" / NAME
    for episode, meta in replay(journal) if journal.exists() else ():
        number = store.append(episode, "online")
        if meta.get("broken"):
            store.evict([number])
    return store


def open_state_clusters(folder: str | Path) -> StateClusters | None:
    """Return the clusters of states that a run's sampler judges rows within, if it does."""
    from trajrl.samplers.clustering.states import StateClusters
    from trajrl.training.run_dir import checkpoint

    last = checkpoint.newest(Path(folder) / "checkpoints")
    if last is None or not (last / "sampler.json").exists():  # a run made of imported weights has no sampler
        return None
    state = _judged_within(checkpoint.read_part(last, "sampler"))
    if state is None or not len(state["centres"]):
        return None
    clusters = StateClusters(len(state["centres"]), 0, 0)
    clusters.load_state_dict(state)
    return clusters


def open_window_draws(folder: str | Path) -> dict[str, np.ndarray]:
    """Return how often a run drew each window, by action row, for each role that draws.

    Empty where the run has no checkpoint, or did not count: where there are no images it does not.
    """
    from trajrl.training.run_dir import checkpoint

    last = checkpoint.newest(Path(folder) / "checkpoints")
    if last is None or not (last / "provenance.json").exists():
        return {}
    state = checkpoint.read_part(last, "provenance")
    parts = {"values": state, **({"policy": state["policy"]} if "policy" in state else {})}
    return {role: part["windows"] for role, part in parts.items() if "windows" in part}


def _judged_within(state: Any) -> dict[str, Any] | None:
    """Return the part of a sampler's state that holds buckets of rows and state clusters, however deep."""
    if not isinstance(state, dict):
        return None
    if {"bucket", "centres", "axes"} <= state.keys():
        return state
    return next((found for part in state.values() if (found := _judged_within(part)) is not None), None)


def open_data(data: str | Path = "") -> TrajectoryStore:
    """Open data of any known format: as named, else $TRAJRL_DATA, else the demo store."""
    from trajrl.training.config import RunConfig
    from trajrl.training.data import open_data as open_training_data

    named = data or os.environ.get("TRAJRL_DATA") or RunConfig.data
    return open_training_data(RunConfig(data=str(named)))


def play(folder: str | Path, episodes: int = 3, which: str = "last", seed: int = 0) -> TrajectoryStore:
    """Run episodes with a kept policy and return them as a store, rewards shaped as in training."""
    from trajrl.rollout.collector import Collector, Streams, in_order
    from trajrl.store.action_box import unit_box
    from trajrl.store.store import TrajectoryStore
    from trajrl.training.action_units import ActionUnits
    from trajrl.training.config import NO_GOALS
    from trajrl.training.data import shape
    from trajrl.training.run_dir.load_run import load_run

    run = load_run(folder)
    name = run.environment(which)
    if not name:
        raise ValueError(f"{folder} names no environment to play in")
    if run.config.goals != NO_GOALS:
        raise ValueError(f"{folder} learned to reach any goal, and episodes are played for a single task")
    suite = run.suite(which)
    collector = Collector(
        suite, run.agent(which), Streams(seed, "report/play", ()), episodes, num_episodes=episodes
    )
    try:
        played = [finished.episode for finished in in_order(collector)]
    finally:
        collector.close()
    store = TrajectoryStore.of(episode for episode in played if episode is not None)
    shape(store, run.config, suite, ActionUnits(unit_box(store.action_dim), suite.action_box))
    return store


def open_agent(folder: str | Path, which: str = "last") -> tuple[Agent, float]:
    """Build the agent with the weights of a kept policy, and return it with its discount per step."""
    from trajrl.training.run_dir.load_run import load_run

    run = load_run(folder)
    return run.agent(which), float(run.config.agent_options.get("gamma", 1.0))
