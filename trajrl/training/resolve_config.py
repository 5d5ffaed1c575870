"""From what was asked for to one complete config: presets, a config file, options, --set, in that order."""

from __future__ import annotations

import importlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from trajrl.agents import AGENTS, require_fields
from trajrl.agents.presets.task_names import ROW, task_name
from trajrl.core.json_file import as_written
from trajrl.core.paths import DEMO_STORE
from trajrl.core.program import program
from trajrl.core.registry import find, unknown
from trajrl.envs import NO_ENVIRONMENT
from trajrl.samplers import SAMPLERS
from trajrl.samplers.auto import AUTO
from trajrl.samplers.options import in_order, resolved_options
from trajrl.store.goals import GoalLaw
from trajrl.store.places import absolute, change_places
from trajrl.training.chosen_sampler import require_no_options
from trajrl.training.config import NO_GOALS, RunConfig, merge
from trajrl.training.ope.criteria import lacking
from trajrl.training.presets import PRESETS
from trajrl.training.settings import literal, options, split_settings

ROWS = 20  # of metrics.csv, which a run has at least: enough to draw a curve
HANDFUL = 5  # evaluations and checkpoints, which a run has at least unless they would be nearer than NEAREST
NEAREST = 100  # steps
DEFAULT_PRESET = "standard"


def resolve_config(
    chosen: Mapping[str, Any], settings: Iterable[str] = (), file: Path | None = None
) -> RunConfig:
    """Resolve options that were given, `--set` and a config file to one complete config."""
    if file is None:
        return _resolved(chosen, settings, None)
    base = RunConfig.load(file)
    try:
        return _resolved(chosen, settings, base)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        with as_written(file):  # the file is named where it is wrong by itself
            _resolved({}, (), base)
        raise


def _resolved(chosen: Mapping[str, Any], settings: Iterable[str], base: RunConfig | None) -> RunConfig:
    """Resolve what was given over the config of a file, if there is one."""
    found = split_settings(settings)
    phase, named = chosen.get("phase"), found["run"].get("phase")
    if phase and named and phase != named:
        raise ValueError(
            f"--set phase={named}: the phase is the command's; `{program()} offline` is one, "
            f"`{program()} online` the other"
        )
    asked, given = {**chosen, **found["run"]}, base
    if base is None:
        data = asked.get("data", RunConfig.data)
        preset = asked.get("preset") or ("demo" if Path(str(data)) == DEMO_STORE else "standard")
        base = _from_preset(
            preset, asked.get("agent", RunConfig.agent), acted_in(str(asked.get("env") or ""), str(data))
        )
    config = merge(base, asked)
    config = replace(config, data=change_places(config.data, absolute))
    if "holdout" in asked and "holdout_min_episodes" not in asked:  # what was asked for holds for any data
        config = replace(config, holdout_min_episodes=0)
    if (
        given is None and config.goals != NO_GOALS and "reward" not in asked
    ):  # a preset's is of recorded rewards
        config = replace(config, reward="no")
    if given is None and "sampler" not in asked and not auto_serves(config, found["sampler"]):
        config = replace(config, sampler=RunConfig.sampler)
    drawn, before = in_order(config.sampler), in_order(config.offline_sampler)
    config = replace(config, sampler=drawn, offline_sampler=before)
    if given is None and "log_every" not in asked:
        config = replace(config, log_every=log_every(config))
    if given is None:
        config = replace(config, **nearer(config, asked))
    if given is not None and config.sampler != given.sampler:
        config = merge(config, _fitting_sampler(config, asked))
    sampler = {**({} if given is not None else sampler_preset(config)), **config.sampler_options}
    if config.metric:
        sampler["metric"] = config.metric
    sampler.update(
        {
            name: literal(value) if isinstance(value, str) else value
            for name, value in found["sampler"].items()
        }
    )
    require_no_options(config, sampler)
    own = {**_fitting(config, base), **found["agent"]}
    kept = config.env_options if given is None or config.env == base.env else {}  # a preset's are of this one
    around = {**kept, **env_settings(found["env"])}
    config = replace(
        config, agent_options=agent_options(config, own), sampler_options=sampler, env_options=around,
        goals_options=goals_options(config, found["goals"]),
    )  # fmt: skip
    config.validate()
    require_criteria(config)
    return config


def auto_serves(config: RunConfig, options: Container[str]) -> bool:
    """Say whether a preset's sampler can stay: auto decides offline, by returns, on its options too."""
    told = bool(options) or bool(config.metric) or config.online or config.goals != NO_GOALS
    return config.sampler != AUTO or not told


def require_criteria(config: RunConfig) -> None:
    """Refuse to stop or select by what the run will not have."""
    agent = find(AGENTS, config.agent, "agent")
    judged = agent, agent.Config(**config.agent_options), config.env != NO_ENVIRONMENT
    if config.early_stop and config.early_stop_by == "bc_loss" and lacking("bc_loss", *judged):
        raise ValueError(
            f"--early-stop watches the behaviour-cloning loss, and {config.agent} has none as it is set; "
            "leave --early-stop out, or give another --early-stop-by"
        )
    asked = {
        "early_stop_by": config.early_stop_by if config.early_stop else "",
        "select_by": config.select_by,
    }
    for name, by in asked.items():
        if by and (what := lacking(by, *judged)):
            raise ValueError(
                f"--{name.replace('_', '-')} {by} needs {what}, and this run of {config.agent} has none; "
                "give another, such as fqe"
            )


def acted_in(env: str, data: str) -> str:
    """Return the name that an agent's preset goes by: of the environment or, without one, of the data."""
    return data if env in ("", NO_ENVIRONMENT) else env


def log_every(config: RunConfig) -> int:
    """Return the steps between rows of metrics.csv: at most a twentieth of the run, but for the demo."""
    return config.log_every if config.preset == "demo" else max(1, min(config.log_every, config.end // ROWS))


def nearer(config: RunConfig, asked: Container[str] = ()) -> dict[str, Any]:
    """Return the intervals of evaluations and checkpoints that suit a short run; what was asked for stays."""
    apart, names = max(NEAREST, config.end // HANDFUL), ("eval_every", "checkpoint_every")
    if config.preset == "demo":
        return {}
    return {name: apart for name in names if name not in asked and getattr(config, name) > apart}


def short_line(config: RunConfig) -> str:
    """Say how a short run is evaluated and saved, where that is nearer than in a long one."""
    apart = max(NEAREST, config.end // HANDFUL)
    said = {"eval_every": "an evaluation", "checkpoint_every": "a checkpoint"}
    near = [f"{what} every {apart}" for name, what in said.items()
            if getattr(config, name) == apart < getattr(RunConfig, name)]  # fmt: skip
    return (
        f"the run is short, {config.end} steps: {', '.join(near)}" if near and config.preset != "demo" else ""
    )


def sampler_preset(config: RunConfig) -> dict[str, Any]:
    """Return what the run's preset sets of the sampler's options; products have none of their own."""
    if config.sampler not in SAMPLERS:
        return {}
    module = importlib.import_module(SAMPLERS[config.sampler].split(":")[0])
    return dict(getattr(module, "PRESETS", {}).get(config.preset, {}))


def env_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return `--set env.NAME=VALUE` settings by name, each read as its kind."""
    from trajrl.envs.base.wrappers import EnvOptions

    found = options("env", EnvOptions(), settings)
    return {f.name: found[f.name] for f in fields(EnvOptions) if f.name in settings}


def goals_options(config: RunConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return every field of the law of goals, changed as asked; nothing where there are no goals."""
    if config.goals == NO_GOALS:
        if settings:
            raise ValueError(f"goals.{next(iter(settings))} is of goals=hindsight, which was not asked for")
        return {}
    return options("goals", GoalLaw(), {**config.goals_options, **settings})


def agent_settings(config: RunConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return `--set agent.NAME=VALUE` settings of a run's agent by name, each read as its kind."""
    require_fields(config.agent, settings)
    found = options("agent", find(AGENTS, config.agent, "agent").Config(), settings)
    return {name: found[name] for name in settings}


def agent_options(config: RunConfig, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return every field of the agent's config, changed as asked; the decay spans the run unless said."""
    require_fields(config.agent, changes)
    kind = find(AGENTS, config.agent, "agent")
    found = options("agent", kind.Config(), changes)
    if not found.get("decay_steps", True):
        found["decay_steps"] = config.steps
    kind.Config(**found).validate()
    return found


def _from_preset(preset: str, agent: str, env: str) -> RunConfig:
    """Return the defaults under a preset, and under the agent's own of that name."""
    run, own = agent_preset(preset, agent, env)
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


def _fitting_sampler(config: RunConfig, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what another sampler takes over from a config file: a metric, if it ranks by one; no options."""
    options = {} if config.sampler == AUTO else resolved_options(SAMPLERS, config.sampler, {})
    ranks = any(name.rpartition(".")[2] == "metric" for name in options)
    metric = asked.get("metric", config.metric if ranks else "")
    return {"sampler_options": asked.get("sampler_options", {}), "metric": metric}


def _fitting(config: RunConfig, base: RunConfig) -> dict[str, Any]:
    """Return the agent options to start from; those of another agent in a config file do not carry over."""
    return dict(config.agent_options) if config.agent == base.agent else {}
