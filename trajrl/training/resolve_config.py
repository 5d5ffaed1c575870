"""From what was asked for to one complete config: presets, a config file, options, --set, in that order."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from trajrl.agents import AGENTS, require_fields
from trajrl.core.json_file import as_written
from trajrl.core.program import program
from trajrl.core.registry import find
from trajrl.envs import NO_ENVIRONMENT
from trajrl.samplers import SAMPLERS
from trajrl.samplers.auto import AUTO
from trajrl.samplers.options import in_order, resolved_options
from trajrl.store.goals import GoalLaw
from trajrl.store.places import absolute, change_places
from trajrl.training.chosen_preset import drawn_in_preset, preset_of, sampler_preset
from trajrl.training.chosen_sampler import require_no_options
from trajrl.training.config import NO_GOALS, RunConfig, merge
from trajrl.training.ope.criteria import lacking
from trajrl.training.settings import literal, options, split_settings

ROWS = 20  # of metrics.csv, which a run has at least: enough to draw a curve
HANDFUL = 5  # evaluations and checkpoints, which a run has at least unless they would be nearer than NEAREST
NEAREST = 100  # steps


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


def _resolved(chosen: Mapping[str, Any], settings: Iterable[str], file: RunConfig | None) -> RunConfig:
    """Resolve what was given over the config of a file, if there is one."""
    found = split_settings(settings)
    require_one_phase(chosen, found["run"])
    asked = {**chosen, **found["run"]}
    base = preset_of(asked) if file is None else file
    config = in_known_words(merge(base, asked))
    if "holdout" in asked and "holdout_min_episodes" not in asked:  # what was asked for holds for any data
        config = replace(config, holdout_min_episodes=0)
    if file is None:
        config = drawn_in_preset(suited(config, asked, found["sampler"]))
    elif config.sampler != file.sampler:
        config = merge(config, _fitting_sampler(config, asked))
    options = _sampler_options(config, found["sampler"], new=file is None)
    require_no_options(config, options)
    own = {**_fitting(config, base), **found["agent"]}
    kept = config.env_options if file is None or config.env == base.env else {}  # a preset's are of this one
    config = replace(
        config, sampler_options=options, agent_options=agent_options(config, own),
        env_options={**kept, **env_settings(found["env"])},
        goals_options=goals_options(config, found["goals"]),
    )  # fmt: skip
    config.validate()
    require_criteria(config)
    return config


def require_one_phase(chosen: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse a --set phase= that is not the command's."""
    phase, named = chosen.get("phase"), settings.get("phase")
    if phase and named and phase != named:
        raise ValueError(
            f"--set phase={named}: the phase is the command's; `{program()} offline` is one, "
            f"`{program()} online` the other"
        )


def in_known_words(config: RunConfig) -> RunConfig:
    """Return a config whose places are absolute and whose samplers are written in their one order."""
    return replace(
        config, data=change_places(config.data, absolute), sampler=in_order(config.sampler),
        offline_sampler=in_order(config.offline_sampler),
    )  # fmt: skip


def suited(config: RunConfig, asked: Container[str], of_sampler: Container[str]) -> RunConfig:
    """Return a new run's config with what its preset says changed where that does not suit the run."""
    if config.goals != NO_GOALS and "reward" not in asked:  # a preset's is of recorded rewards
        config = replace(config, reward="no")
    if "sampler" not in asked and not auto_serves(config, of_sampler):
        config = replace(config, sampler=RunConfig.sampler)
    if "log_every" not in asked:
        config = replace(config, log_every=log_every(config))
    return replace(config, **nearer(config, asked))


def _sampler_options(config: RunConfig, settings: Mapping[str, Any], new: bool) -> dict[str, Any]:
    """Return the options of a run's sampler: of a new run's preset, of its config, asked for."""
    metric = {"metric": config.metric} if config.metric else {}
    said = {name: literal(value) if isinstance(value, str) else value for name, value in settings.items()}
    return {**(sampler_preset(config) if new else {}), **config.sampler_options, **metric, **said}


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


def _fitting_sampler(config: RunConfig, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what another sampler takes over from a config file: a metric, if it ranks by one; no options."""
    options = {} if config.sampler == AUTO else resolved_options(SAMPLERS, config.sampler, {})
    ranks = any(name.rpartition(".")[2] == "metric" for name in options)
    metric = asked.get("metric", config.metric if ranks else "")
    return {"sampler_options": asked.get("sampler_options", {}), "metric": metric}


def _fitting(config: RunConfig, base: RunConfig) -> dict[str, Any]:
    """Return the agent options to start from; those of another agent in a config file do not carry over."""
    return dict(config.agent_options) if config.agent == base.agent else {}
