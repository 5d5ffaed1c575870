"""What a preset sets: of a run, of its agent, of its sampler.

A preset is one of every run's (trajrl/training/presets.py) or an agent's own, whose settings of the run stand
under keys 'run.NAME' in its table.  An agent's `drawn` says what its presets
mean by a sampler named alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trajrl.agents import AGENTS
from trajrl.agents.presets.task_names import ROW, task_name
from trajrl.core.paths import DEMO_STORE
from trajrl.core.registry import find, unknown
from trajrl.envs import NO_ENVIRONMENT
from trajrl.samplers import SAMPLERS
from trajrl.training.config import RunConfig, merge
from trajrl.training.presets import PRESETS
from trajrl.training.settings import split_settings

DEFAULT_PRESET = "standard"


def preset_of(asked: Mapping[str, Any]) -> RunConfig:
    """Return the defaults under the preset that is asked for, and under the agent's own of that name."""
    data, agent = str(asked.get("data", RunConfig.data)), asked.get("agent", RunConfig.agent)
    preset = asked.get("preset") or ("demo" if Path(data) == DEMO_STORE else DEFAULT_PRESET)
    run, own = agent_preset(preset, agent, acted_in(str(asked.get("env") or ""), data))
    general = PRESETS.get(preset, PRESETS["paper"])  # an agent's own presets are published settings
    return merge(RunConfig(preset=preset, agent=agent), {**general, **run, "agent_options": own})


def agent_preset(preset: str, agent: str, env: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a preset of an agent sets of the run, under keys 'run.NAME' there, and of the agent."""
    module = importlib.import_module(find(AGENTS, agent, "agent").__module__)
    table = getattr(module, "PRESETS", {})
    if preset not in {*PRESETS, *table}:
        raise ValueError(unknown(f"preset of {agent}", preset, {*PRESETS, *table}))
    named = preset if preset in table else DEFAULT_PRESET  # one of every run's, which this agent lacks
    own = dict(module.preset(named, env)) if hasattr(module, "preset") else dict(table.get(named, {}))
    own.pop(ROW, None)
    run = {name.removeprefix("run."): own.pop(name) for name in list(own) if name.startswith("run.")}
    return run, own


def drawn_in_preset(config: RunConfig) -> RunConfig:
    """Return a new run's config with the sampler that its preset means by the one named, and its options."""
    name, options = _meant(config)
    if name == config.sampler:
        return config
    return replace(config, sampler=name, sampler_options={**options, **config.sampler_options})


def means(name: str, config: RunConfig) -> bool:
    """Say whether the preset of a run means by a sampler named alone the one that the run draws by."""
    return _meant(replace(config, sampler=name))[0] == config.sampler != name


def asked_sampler(chosen: Mapping[str, Any], settings: Iterable[str]) -> str:
    """Return the sampler that was named, by its option or by --set; nothing where none was."""
    return str({**chosen, **split_settings(settings)["run"]}.get("sampler", ""))


def drawn_line(asked: str, config: RunConfig) -> str:
    """Say what a preset means by the sampler that was asked for, where that is another."""
    if not means(asked, config):
        return ""
    set_ = " ".join(f"{name}={value:g}" for name, value in _meant(replace(config, sampler=asked))[1].items())
    return f"--sampler {asked} in the preset {config.preset} is {config.sampler} with {set_}"


def _meant(config: RunConfig) -> tuple[str, dict[str, Any]]:
    """Return what a config's preset and agent mean by its sampler: a name and options."""
    module = importlib.import_module(find(AGENTS, config.agent, "agent").__module__)
    known: dict[str, tuple[str, dict[str, Any]]] = {}
    if hasattr(module, "drawn") and not config.online:
        known = module.drawn(config.preset, acted_in(config.env, config.data))
    return known.get(config.sampler, (config.sampler, {}))


def sampler_preset(config: RunConfig) -> dict[str, Any]:
    """Return what the run's preset sets of the sampler's options; products have none of their own."""
    if config.sampler not in SAMPLERS:
        return {}
    module = importlib.import_module(SAMPLERS[config.sampler].split(":")[0])
    return dict(getattr(module, "PRESETS", {}).get(config.preset, {}))


def acted_in(env: str, data: str) -> str:
    """Return the name that an agent's preset goes by: of the environment or, without one, of the data."""
    return data if env in ("", NO_ENVIRONMENT) else env


def published_row(config: RunConfig) -> str:
    """Say which published settings a run starts from; nothing of the demo's and the standard ones."""
    if config.preset in PRESETS.keys() - {"paper"}:
        return ""
    env = acted_in(config.env, config.data)
    module = importlib.import_module(find(AGENTS, config.agent, "agent").__module__)
    row = module.preset(config.preset, env).get(ROW) if hasattr(module, "preset") else None
    named = f"--preset {config.preset} of {config.agent}"
    if row:
        return f"{named}: settings published for {row.strip('*-')}, as {task_name(env)} is"
    return f"{named}: no published row for {task_name(env)}: the settings of the method"
