"""Small runs made on the spot, so that a notebook has something to read on a fresh checkout."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from trajrl.core.console import say
from trajrl.report.frames import load_runs
from trajrl.report.runs.cache import cache_folder
from trajrl.training import build, loop, offline_to_online
from trajrl.training.resolve_config import resolve_config
from trajrl.training.resolve_online import online_config
from trajrl.training.run_dir.folder import describe_run, new_folder

if TYPE_CHECKING:
    import pandas as pd

VARIABLE = "TRAJRL_RUNS"  # a pattern that goes before the one a notebook names
SMALL = {"steps": 24, "batch_size": 16}
SETTINGS = (
    "log_every=4", "eval_every=6", "first_eval=0", "eval_episodes=3", "last_eval_episodes=3",
    "checkpoint_every=24",
)  # fmt: skip

OF_SAMPLER = {"quality": ("sampler.judge=critic",)}  # what its notebook asks about

GO = {
    "env_steps": 200, "utd": 0.25, "learning_starts": 0, "warmup_steps": 50, "log_every": 20,
    "eval_every": 50, "eval_episodes": 3, "last_eval_episodes": 3, "checkpoint_every": 200,
}  # fmt: skip


def runs_or_small_ones(
    pattern: str | Path, samplers: Sequence[str], seeds: Sequence[int] = (0, 1)
) -> pd.DataFrame:
    """Load the runs that match $TRAJRL_RUNS or `pattern`; if there are none, make small ones first."""
    pattern = os.environ.get(VARIABLE) or str(pattern)
    if any(Path(path, "config.json").exists() for path in glob(pattern)):
        return load_runs(pattern)
    folder = cache_folder() / "practice"
    say(f"no run matches {pattern}; reading runs of {SMALL['steps']} steps, made for practice in {folder}")
    return load_runs(small_runs(folder, samplers, seeds))


def small_runs(folder: Path, samplers: Sequence[str], seeds: Sequence[int] = (0, 1)) -> list[Path]:
    """Train the default agent for a few steps on the demo store; a run that is there already is kept."""
    made = []
    for sampler in samplers:
        for seed in seeds:
            path = folder / f"{sampler.replace('*', '-x-')}-s{seed}"
            made.append(path)
            if not (path / "summary.json").exists():
                _train(path, sampler, seed)
    return made


def online_runs_or_small_ones(pattern: str | Path) -> pd.DataFrame:
    """Load the online runs that match, beside all others; if there is none, make a small one first."""
    pattern = os.environ.get(VARIABLE) or str(pattern)
    configs = [Path(path, "config.json") for path in glob(pattern)]
    if any(json.loads(path.read_text()).get("phase") == "online" for path in configs if path.exists()):
        return load_runs(pattern)
    folder = cache_folder() / "practice"
    say(f"no online run matches {pattern}; reading one made for practice in {folder}")
    return load_runs(small_online_run(folder))


def small_online_run(folder: Path) -> list[Path]:
    """Make a small offline run, and continue from it in its environment for a few steps."""
    before, after = small_runs(folder, ["uniform"], [0])[0], folder / "online-s0"
    if not (after / "summary.json").exists():
        _go_online(before, after)
    return [before, after]


def _train(folder: Path, sampler: str, seed: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # one that was broken off
    chosen = {**SMALL, "phase": "offline", "sampler": sampler, "seed": seed}
    config = resolve_config(chosen, (*SETTINGS, *OF_SAMPLER.get(sampler, ())))
    run = build.build(config, new_folder(config, str(folder)))
    describe_run(folder, run.config, run.store)
    loop.offline(run)


def _go_online(source: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    config = online_config(source, GO, ())
    run = build.build(config, new_folder(config, str(folder)))
    offline_to_online.take_over(run, source)
    describe_run(folder, run.config, run.store)
    loop.online(run)
