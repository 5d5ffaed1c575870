"""`--help-config`: every field of the run, agent, sampler and environment chosen, with its comment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NamedTuple

from trajrl.agents import AGENTS
from trajrl.cli.common import say
from trajrl.cli.field_comments import field_comments
from trajrl.cli.text_table import as_text, show_table, terminal_width
from trajrl.core.registry import find
from trajrl.envs import NO_ENVIRONMENT, find_kind
from trajrl.samplers import SAMPLERS
from trajrl.samplers.auto import AUTO
from trajrl.samplers.options import choose_sampler
from trajrl.store.goals import GoalLaw
from trajrl.training.config import ONLINE_FIELDS, RunConfig
from trajrl.training.presets import ONLINE_SAMPLER
from trajrl.training.resolve_config import resolve_config
from trajrl.training.resolve_online import asks_for_a_metric, fitted, online_config, online_preset
from trajrl.training.saved_config import resume_config
from trajrl.training.settings import PARTS, split_settings


class Field(NamedTuple):
    """One field of a config, and what holds unless --set changes it."""

    name: str  # as --set takes it
    default: Any
    value: Any  # under the preset and the options given
    comment: str


def show_config(config: RunConfig) -> dict[str, Any]:
    """Print every field that --set reaches; returns the same for --json."""
    found = dict(sections(config))
    say(f"Every field of this run, under preset {config.preset}.  --set NAME=VALUE changes one.")
    say("In brackets: the default, where the preset or an option gives another value.")
    for title, rows in found.items():
        say()
        say(title)
        table = [(row.name, _value(row), row.comment) for row in rows]
        show_table(("field", "value", "what it is"), table, width=terminal_width())
    return {title: {row.name: row._asdict() for row in rows} for title, rows in found.items()}


def planned(
    phase: str,
    chosen: Mapping[str, Any],
    settings: tuple[str, ...],
    file: Path | None,
    source: str,
    folder: str,
) -> RunConfig:
    """Return the config that a command would run with, without opening its data.

    Args:
        source: the offline run that an online one would continue; empty: not known yet
        folder: the run to resume; empty: a new one
    """
    if folder:
        return resume_config(Path(folder), {**chosen, "phase": phase}, settings)
    if phase == "offline" or file is not None:
        return resolve_config({**chosen, "phase": phase}, settings, file)
    if source:
        return online_config(Path(source), chosen, settings)
    before = {
        name: value for name, value in chosen.items() if name not in {*ONLINE_FIELDS, "sampler", "metric"}
    }
    base = resolve_config(before)
    preset = online_preset(base.preset, base, asks_for_a_metric(chosen, settings))
    config = resolve_config({"phase": phase, "sampler": ONLINE_SAMPLER, **preset, **chosen}, settings)
    found = split_settings(settings)
    return fitted(config, {*chosen, *found["run"]}, found["agent"])


def sections(config: RunConfig) -> Iterator[tuple[str, list[Field]]]:
    """Yield a title and its fields for each part of a run."""
    from trajrl.envs.base.wrappers import EnvOptions

    run = _fields("", RunConfig, vars(config))
    own = [row for row in run if row.name not in {f"{part}_options" for part in PARTS}]
    yield "run", [row for row in own if row.name not in ONLINE_FIELDS]
    yield "run, online phase", [row for row in own if row.name in ONLINE_FIELDS]
    kind = find(AGENTS, config.agent, "agent").Config
    yield f"agent {config.agent}", _fields("agent.", kind, config.agent_options)
    if config.sampler != AUTO:  # which chooses its options too
        yield from _sampler_sections("sampler.", config.sampler, config.sampler_options)
    yield "goals, where goals=hindsight", _fields("goals.", GoalLaw, config.goals_options)
    around = {**_published(config.env), **config.env_options}
    yield f"environment {config.env or 'that the data names'}", _fields("env.", EnvOptions, around)


def _sampler_sections(
    prefix: str, name: str, options: Mapping[str, Any]
) -> Iterator[tuple[str, list[Field]]]:
    """Yield the fields of a sampler, then those of the samplers that it is made of."""
    choice = choose_sampler(SAMPLERS, name, options)
    kind = find(SAMPLERS, choice.name, "sampler").config_type
    yield f"sampler {name}", _fields(prefix, kind, vars(choice.config))
    for part, (inner, inner_options) in choice.parts.items():
        yield from _sampler_sections(f"{prefix}{part}.", inner, inner_options)


def _fields(prefix: str, kind: Any, values: Mapping[str, Any]) -> list[Field]:
    """Return the fields of a config dataclass with their comments."""
    comments = field_comments(kind)
    rows = []
    for f in fields(kind):
        made = f.default_factory() if f.default_factory is not MISSING else None
        default = f.default if f.default is not MISSING else made
        rows.append(Field(prefix + f.name, default, values.get(f.name, default), comments[f.name]))
    return rows


def _published(env: str) -> dict[str, Any]:
    """Return the options that an environment typed by the user is published with."""
    if env in ("", NO_ENVIRONMENT):
        return {}
    kind, name = find_kind(env)
    return kind.published(name)


def _value(row: Field) -> str:
    """Return the value for a person, with the default where that is another."""
    value, default = (_text(part) for part in (row.value, row.default))
    return value if value == default else f"{value} ({default})"


def _text(value: Any) -> str:
    """Write a value as --set reads it; an empty text shows that it is one."""
    return str(value).lower() if isinstance(value, bool) else as_text(value) if value != "" else "''"
