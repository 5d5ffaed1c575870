"""Medium-replay: everything that an agent met while it learned online from nothing, in the order it met it.

START_STEPS of uniform actions come first; then sac acts, one update for each step, on all it met so far.
It is evaluated ten times on the way, for what it has learned comes and goes.  The run is an ordinary online
run: its checkpoints and journal let a broken-off one go on, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from trajrl.store.episode import Episode
from trajrl.training.config import RunConfig

if TYPE_CHECKING:
    from trajrl.envs.base.suite import Suite
    from trajrl.training.run import Run

AGENT = "sac"
START_STEPS = 5_000  # with uniform actions, at most a tenth of all


def learning(suite: Suite, steps: int, seed: int, folder: Path, settings: tuple[str, ...] = ()) -> Run:
    """Build the run of the agent that is to meet `steps` transitions, where it stands in `folder`."""
    from trajrl.training import build, resume
    from trajrl.training.run_dir import checkpoint

    start = folder / "start.h5"
    if not start.exists():
        write_start(suite, min(START_STEPS, max(1, steps // 10)), seed, start)
    begun = (folder / "run" / "config.json").exists()
    if begun:
        config = RunConfig.load(folder / "run" / "config.json")
        place = folder / "run"
        build.lock(place)
    else:
        try:
            config = config_of(suite, steps, seed, start, settings)
        except (KeyError, ValueError):
            rmtree(folder)  # nothing was learned: nothing is left to go on with
            raise
        place = build.new_folder(config, str(folder / "run"))
        build.lock(place)
    run = build.build(config, place)
    if not begun:
        build.describe(place, run.config, run.store)
    found = checkpoint.newest(place / "checkpoints")
    if found is not None:
        resume.restore(run, found)
    elif begun:
        resume.begin_again(run)
    return run


def config_of(suite: Suite, steps: int, seed: int, start: Path, settings: tuple[str, ...]) -> RunConfig:
    """Return the config of the agent's run."""
    from dataclasses import asdict

    from trajrl.store.store import TrajectoryStore
    from trajrl.training import build

    left = steps - TrajectoryStore.open(start).num_steps
    chosen: dict[str, Any] = {
        "phase": "online", "agent": AGENT, "data": str(start), "env": suite.name, "seed": seed,
        "env_steps": max(1, left), "sampler": "uniform", "offline_sampler": "uniform", "learn_after": 0,
        "warmup_steps": 0, "offline_mode": "keep", "utd": 1.0, "patience": 0.0, "batch_size": 256,
        "log_every": 1_000, "eval_every": max(1_000, left // 10), "eval_episodes": 10,
        "checkpoint_every": 5_000,
    }  # fmt: skip
    config = build.resolve(chosen, settings)
    return replace(config, env_options=asdict(suite.options))


def write_start(suite: Suite, steps: int, seed: int, path: Path) -> None:
    """Record the uniform actions that the agent begins with."""
    from trajrl.rollout.collector import Streams, collect
    from trajrl.rollout.policies import RandomPolicy
    from trajrl.store.file.writer import StoreWriter

    box = {"environment": suite.name, "action_low": -1.0, "action_high": 1.0}
    with StoreWriter(path, box) as writer:
        for episode in collect(suite, RandomPolicy(suite.action_dim), Streams(seed, "start"), 1, "start"):
            writer.append(episode)
            if writer.num_steps >= steps:
                return


def met(run: Run) -> Iterator[Episode]:
    """Yield what the agent met, in order: the start, then its own episodes; broken ones are left out."""
    from trajrl.training.online_collector import BROKEN

    for number in run.store.live:
        if not getattr(run.store.table, BROKEN)[number]:
            episode = run.store.episode(int(number))
            yield episode if episode.source == "start" else replace(episode, source=AGENT)
