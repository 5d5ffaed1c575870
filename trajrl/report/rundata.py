"""What a run was trained on and what it learned, opened again for pictures: its store and its agent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trajrl.agents.protocol import Agent
    from trajrl.store.store import TrajectoryStore


def open_store(folder: str | Path) -> TrajectoryStore:
    """Open the data of a run as its training saw it: rewards and actions shaped, the store unchanged."""
    from trajrl import assemble
    from trajrl.config import RunConfig

    config = RunConfig.load(Path(folder) / "config.json")
    store = assemble.open_data(config)
    assemble.shape(store, config, assemble.find_suite(config, store))
    return store


def open_agent(folder: str | Path, which: str = "last") -> tuple[Agent, float]:
    """Build the agent with the weights of a kept policy, and return it with its discount per step."""
    from trajrl.policy import load_run

    run = load_run(folder)
    return run.agent(which), float(run.config.agent_options.get("gamma", 1.0))
