"""Configs of runs that are there: to continue one, and to run one again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trajrl.agents import AGENTS
from trajrl.core.program import program
from trajrl.core.registry import find
from trajrl.samplers.auto import AUTO
from trajrl.training.chosen_preset import asked_sampler, means
from trajrl.training.chosen_sampler import was_auto
from trajrl.training.config import NO_DATA, RunConfig
from trajrl.training.resolve_config import resolve_config
from trajrl.training.settings import split_settings
from trajrl.training.weights_meaning import check_meaning

# What a checkpoint refers to: one sampler would take another's law for its own.
LASTING = ("agent", "obs_keys", "goals", "seed", "sampler", "offline_sampler", "warmup_sampler", "holdout",
           "holdout_min_episodes")  # fmt: skip


def config_for_rerun(file: Path, phase: str) -> RunConfig:
    """Read a config to run again, which must be of this phase."""
    config = RunConfig.load(file)
    if config.phase != phase:
        raise ValueError(
            f"{file} is of an {config.phase} run; `{program()} {config.phase} --config {file}` runs it again"
        )
    return config


def resume_config(folder: Path, chosen: Mapping[str, Any], settings: Iterable[str]) -> RunConfig:
    """Return the config of the run in a folder, with what was given beside --resume taken in."""
    saved = RunConfig.load(folder / "config.json")
    phase = chosen.get("phase", saved.phase)
    if phase != saved.phase:
        raise ValueError(
            f"{folder} is an {saved.phase} run; "
            f"`{program()} {saved.phase} --resume --out {folder}` continues it"
        )
    settings = list(settings)
    given = {name: value for name, value in chosen.items() if name != "preset"}
    if stands_for(asked_sampler(chosen, settings), saved, folder):
        given.pop("sampler", None)
        settings = [setting for setting in settings if setting.partition("=")[0] != "sampler"]
    config = resolve_config(given, settings, folder / "config.json")
    for name in ("agent", "seed") if saved.data == NO_DATA else LASTING:
        if getattr(config, name) != getattr(saved, name):
            kept = getattr(saved, name)
            raise ValueError(f"{folder} has {name} {kept}; it cannot change in the middle of a run")
    check_meaning(saved, config.agent_options, folder)
    if "decay_steps" in split_settings(settings)["agent"] or not spans(saved):
        return config
    longer = {**config.agent_options, **lasting(saved, config), "decay_steps": config.steps}
    return replace(config, agent_options=longer)


def stands_for(name: str, saved: RunConfig, folder: Path) -> bool:
    """Say whether a run's sampler was asked for by this name: auto, or a preset's word for it."""
    if name == AUTO:
        return was_auto(folder)
    return means(name, saved)


def lasting(saved: RunConfig, config: RunConfig) -> dict[str, Any]:
    """Return agent options that a longer run keeps as its shorter one had them, unless they were changed."""
    own = find(AGENTS, saved.agent, "agent").Config(**saved.agent_options)
    kept = own.lasting() if hasattr(own, "lasting") else {}
    unchanged = [name for name in kept if config.agent_options.get(name) == saved.agent_options.get(name)]
    return {name: kept[name] for name in unchanged}


def spans(config: RunConfig) -> bool:
    """Say whether the rates of an offline run decay over just its steps; then they do over more, if asked."""
    return not config.online and config.agent_options.get("decay_steps") == config.steps
