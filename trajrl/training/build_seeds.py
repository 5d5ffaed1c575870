"""From configs that differ in their seed to runs that train as one program; they share what they read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from trajrl.core.console import silenced
from trajrl.training.build import build
from trajrl.training.config import NO_GOALS, RunConfig
from trajrl.training.data import open_data
from trajrl.training.run import Run
from trajrl.training.stacked_agent import require_stackable


def build_seeds(configs: Sequence[RunConfig], folders: Sequence[Path]) -> list[Run]:
    """Build a run of each config, at step 0 in its folder; what is said is said once."""
    refuse(configs[0])
    store = open_data(configs[0])
    runs: list[Run] = []
    for config, folder in zip(configs, folders, strict=True):
        if runs:  # as measured, where that was asked for: threads and kernels decide the last bits
            first = runs[0].config
            config = replace(config, threads=first.threads, kernels=first.kernels)
        with silenced() if runs else nullcontext():
            runs.append(build(config, folder, store.view()))
        if len(runs) == 1:
            require_stackable(config.agent, runs[0].agent)
        else:
            runs[-1].progress.speak_through(runs[0].progress, f"seed {config.seed}")
    runs[0].progress.speak_through(runs[0].progress, f"seed {configs[0].seed}")
    return runs


def refuse(config: RunConfig) -> None:
    """Refuse what works on a single run's update."""
    if config.compile != "off":
        raise ValueError(f"--seeds stacks the losses, and compile={config.compile} replaces them: give one")
    if config.graph:
        raise ValueError("--seeds stacks the update, and graph=true records it: give one")
    if config.goals != NO_GOALS:
        raise ValueError(
            f"--seeds stacks windows, and goals={config.goals} draws a goal for each: train seeds one by one"
        )
