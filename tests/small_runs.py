"""Runs small enough for a test: a few updates of tiny networks on a point that is to rest at the origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trajrl.store.episode import Episode
from trajrl.store.file.writer import StoreWriter
from trajrl.training import build, loop, resume
from trajrl.training.resolve_config import resolve_config
from trajrl.training.resolve_online import online_config
from trajrl.training.run_dir.folder import describe_run, new_folder

TINY = {
    "width": 16, "depth": 2, "hidden": (16, 16), "gru_width": 8, "diffusion_steps": 3, "candidates": 3,
    "history": 3, "horizon": 5, "samples": 3, "q_start": 5, "q_ramp": 5,
}  # fmt: skip


ONLINE_RUN = {
    "env_steps": 72, "learning_starts": 20, "warmup_steps": 40, "eval_every": 40, "checkpoint_every": 28,
    "env_timeout": 0, "log_every": 10, "eval_episodes": 2, "last_eval_episodes": 2,
}  # fmt: skip


def write_store(
    path: Path, episodes: int = 12, environment: str = "toy:point", recorded_in: str | None = None
) -> Path:
    """Record a random policy; `recorded_in` is the environment that the file names, if another or none."""
    import torch

    from trajrl.core.rng import stream
    from trajrl.core.trust import allow
    from trajrl.envs import make_suite

    torch.set_num_threads(1)
    allow([environment])  # a program may say so of data that it made
    suite = make_suite(environment)
    named = environment if recorded_in is None else recorded_in
    with StoreWriter(path, {"actions_scaled": True, **({"environment": named} if named else {})}) as writer:
        for index in range(episodes):
            rng, env = stream(0, "test", index), suite.make(index)
            obs, rewards, actions = [env.reset(seed=index)[0]], [], []
            terminated = truncated = False
            while not (terminated or truncated):
                actions.append(rng.uniform(-1, 1, suite.action_dim).astype("float32"))
                seen, reward, terminated, truncated, _ = env.step(actions[-1])
                obs.append(seen)
                rewards.append(reward)
            writer.append(Episode(obs, actions, rewards, terminated, source=f"s{index % 2}"))
    return path


def settings(agent: str, **changes: Any) -> list[str]:
    """Return the --set words of a tiny run of an agent."""
    from dataclasses import fields

    from trajrl.agents import AGENTS
    from trajrl.core.registry import find

    known = {f.name for f in fields(find(AGENTS, agent, "agent").Config)}
    run = {
        "log_every": 5, "eval_every": 10, "first_eval": 0, "eval_episodes": 2, "last_eval_episodes": 2,
        "checkpoint_every": 7, "eval_envs": 2,
    }  # fmt: skip
    own = {f"agent.{name}": value for name, value in TINY.items() if name in known}
    return [
        f"{name}={value}".replace("(", "[").replace(")", "]")
        for name, value in {**run, **own, **changes}.items()
    ]


def small_run(
    folder: Path, store: Path, agent: str = "trajectory_ql", sampler: str = "cluster", **changes: Any
):
    """Build a tiny run of 25 updates in its folder."""
    chosen = {
        "data": str(store),
        "agent": agent,
        "sampler": sampler,
        "steps": 25,
        "batch_size": 16,
        "preset": "demo",
    }
    chosen.update(
        {name: changes.pop(name) for name in list(changes) if name in ("seed", "steps", "batch_size")}
    )
    config = resolve_config(chosen, settings(agent, **changes))
    folder = new_folder(config, str(folder))
    run = build.build(config, folder)
    describe_run(folder, run.config, run.store)
    return run


def trained(folder: Path, store: Path, **changes: Any):
    """Build a tiny run and train it to its end."""
    run = small_run(folder, store, **changes)
    loop.offline(run)
    return run


def small_online(folder: Path, source: Path, sampler: str = "priority", **changes: Any):
    """Build a tiny online run of 72 environment steps that continues from an offline run."""
    from trajrl.training import offline_to_online

    run_fields = {**ONLINE_RUN, **changes}
    words = [f"{name}={value}" for name, value in run_fields.items() if name not in ("env", "seed")]
    chosen = {"sampler": sampler, **{name: changes[name] for name in ("env", "seed") if name in changes}}
    config = online_config(source, chosen, words)
    folder = new_folder(config, str(folder))
    run = build.build(config, folder)
    offline_to_online.take_over(run, source)
    describe_run(folder, run.config, run.store)
    return run


def reopened(folder: Path):
    """Build the run that a folder holds, at its newest checkpoint."""
    from trajrl.training.config import RunConfig
    from trajrl.training.run_dir import checkpoint

    run = build.build(RunConfig.load(folder / "config.json"), folder)
    path = checkpoint.newest(folder / "checkpoints")
    if path is None and run.online:
        from trajrl.training import offline_to_online

        offline_to_online.take_over(run, Path(run.config.from_run))
    resume.restore(run, path) if path else resume.begin_again(run)
    return run
