"""`collect --recipe medium-replay`: sac learns online from nothing, and all it met becomes a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from trajrl.cli.collect.journal import folder_of, open_or_resume, remove
from trajrl.cli.common import say
from trajrl.store.episode import Episode
from trajrl.store.file.writer import StoreWriter
from trajrl.training.config import RunConfig
from trajrl.training.resolve_config import resolve_config
from trajrl.training.run_dir.folder import describe_run, lock, new_folder

if TYPE_CHECKING:
    from trajrl.envs.base.suite import Suite
    from trajrl.training.run import Run

AGENT = "sac"
START_STEPS = 5_000  # with uniform actions, at most a tenth of all


def learn(
    suite: Suite,
    steps: int,
    seed: int,
    out: Path,
    settings: tuple[str, ...],
    asked: Mapping[str, Any],
    resume: bool,
    overwrite: bool,
) -> Run:
    """Let an agent learn online until it met `steps` transitions; returns its run, which lies beside `out`.

    Args:
        asked: what a collection that is resumed must have been begun with
    """
    from trajrl.cli.train_command import stop_politely
    from trajrl.training import loop

    folder, kept = folder_of(out), run_folder(out)
    if overwrite and not resume:
        remove(folder)
    if kept.exists() and not overwrite:
        raise FileExistsError(f"{kept} holds the run of an earlier replay; --overwrite replaces it")
    open_or_resume(folder, asked, resume)
    run = learning(suite, steps, seed, folder, settings)
    with stop_politely(run, "the same command with --resume"):
        loop.online(run)
    return run


def finish(run: Run, out: Path) -> dict[str, Any]:
    """Say how well the agent did, and keep its run beside the store."""
    last = run.evaluations.entries[-1]
    best = max(run.evaluations.entries, key=lambda found: found.return_mean)
    say(f"the agent that learned ends at a return of {last.return_mean:.1f} ({len(last.rows)} episodes)")
    say(f"its best evaluation was {best.return_mean:.1f}, at step {best.step}")
    folder, kept = folder_of(out), run_folder(out)
    remove(kept)
    (folder / "run").rename(kept)
    remove(folder)
    reached = {"reached": last.return_mean, "best": best.return_mean, "best_step": best.step}
    return {**reached, "updates": run.step, "run": str(kept)}


def run_folder(out: Path) -> Path:
    """Return where the run that met a store's episodes is kept."""
    return out.with_name(out.name + ".run")


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
        lock(place)
    else:
        try:
            config = config_of(suite, steps, seed, start, settings)
        except (KeyError, ValueError):
            rmtree(folder)  # nothing was learned: nothing is left to continue with
            raise
        place = new_folder(config, str(folder / "run"))
        lock(place)
    run = build.build(config, place)
    if not begun:
        describe_run(place, run.config, run.store)
    found = checkpoint.newest(place / "checkpoints")
    if found is not None:
        resume.restore(run, found)
    elif begun:
        resume.begin_again(run)
    return run


def config_of(suite: Suite, steps: int, seed: int, start: Path, settings: tuple[str, ...]) -> RunConfig:
    """Return the config of the agent's run."""
    from trajrl.store.store import TrajectoryStore

    left = steps - TrajectoryStore.open(start).num_steps
    chosen: dict[str, Any] = {
        "phase": "online", "agent": AGENT, "data": str(start), "env": suite.name, "seed": seed,
        "env_steps": max(1, left), "sampler": "uniform", "offline_sampler": "uniform", "learning_starts": 0,
        "warmup_steps": 0, "offline_mode": "keep", "utd": 1.0, "env_timeout": 0.0, "batch_size": 256,
        "log_every": 1_000, "eval_every": max(1_000, left // 10), "eval_episodes": 10,
        "checkpoint_every": 5_000,
    }  # fmt: skip
    config = resolve_config(chosen, settings)
    return replace(config, env_options=asdict(suite.options))


def write_start(suite: Suite, steps: int, seed: int, path: Path) -> None:
    """Record the uniform actions that the agent begins with."""
    from trajrl.rollout.collector import Streams, collect
    from trajrl.rollout.policies import RandomPolicy

    box = suite.action_box
    named = {"environment": suite.name, **box.attributes(f"collect in {suite.name}")}
    with StoreWriter(path, named) as writer:
        for episode in collect(suite, RandomPolicy(suite.action_dim), Streams(seed, "start"), 1, "start"):
            writer.append(replace(episode, actions=box.from_unit(episode.actions)))
            if writer.num_steps >= steps:
                return


def met(run: Run) -> Iterator[Episode]:
    """Yield what the agent met, in order: the start, then its own episodes; broken ones are left out."""
    from trajrl.training.online_collector import BROKEN

    for number in run.store.live:
        if not getattr(run.store.table, BROKEN)[number]:
            episode = run.store.episode(int(number))
            yield episode if episode.source == "start" else replace(episode, source=AGENT)
