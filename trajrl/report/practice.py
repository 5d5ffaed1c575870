"""Small runs made on the spot, so that a notebook has something to read on a fresh checkout."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from trajrl.report.cache import cache_folder
from trajrl.report.frames import load_runs
from trajrl.speak import say

if TYPE_CHECKING:
    import pandas as pd

VARIABLE = "TRAJRL_RUNS"  # a pattern that goes before the one a notebook names
SMALL = {"steps": 24, "batch_size": 16}
SETTINGS = (
    "log_every=4", "eval_every=6", "first_eval=0", "eval_episodes=3", "last_eval_episodes=3",
    "checkpoint_every=24",
)  # fmt: skip


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


def _train(folder: Path, sampler: str, seed: int) -> None:
    import shutil

    from trajrl import assemble, train

    shutil.rmtree(folder, ignore_errors=True)  # one that was broken off
    config = assemble.resolve({**SMALL, "phase": "offline", "sampler": sampler, "seed": seed}, SETTINGS)
    run = assemble.build(config, assemble.new_folder(config, str(folder)))
    assemble.describe(folder, config, run.store)
    train.offline(run)
