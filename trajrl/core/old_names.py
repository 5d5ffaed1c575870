"""Names of options and metrics in runs, configs and scripts of earlier versions, and their names today.

options   config.json, --config, --set, --grid, options of environments, flags of the command line
metrics   columns of metrics.csv: 'phase/group/name'
gone      options of agents that are no more: left out of a config at the value at which they did nothing
later     options of agents that came later, by one that is as old as the agent: what runs did before
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")

OPTIONS = {"learn_after": "learning_starts", "patience": "env_timeout"}
GROUPS = {"judgement": "diagnostics", "dip": "finetune", "handover": "sampler_share"}
METRICS = {"finetune/dip": "finetune/drop"}  # within a group, after the group was renamed

GONE: Mapping[str, Mapping[str, Any]] = {"trajectory_ql": {"doubt": 0.0}}
LATER: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "stratified_ql": ("fraction_end", {"judge": "critic", "second_q": 1.0, "second_predicts": "noise"})
}


def option(name: str) -> str:
    """Return the present name of an option."""
    return OPTIONS.get(name, name)


def options(values: Mapping[str, Value]) -> dict[str, Value]:
    """Return options under their present names; one given under both names counts as given today."""
    renamed = {option(name): value for name, value in values.items() if name in OPTIONS}
    return {**renamed, **{name: value for name, value in values.items() if name not in OPTIONS}}


def of_agent(agent: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return an agent's options without those that are no more and did nothing, and with later ones."""
    gone, (old, later) = GONE.get(agent, {}), LATER.get(agent, ("", {}))
    kept = {name: value for name, value in values.items() if name not in gone or value != gone[name]}
    return {**later, **kept} if old in kept else kept


def setting(name: str) -> str:
    """Return the present name of what --set or --grid names: learn_after, env.patience."""
    part, dot, own = name.rpartition(".")
    return f"{part}{dot}{option(own)}" if part in ("", "env") else name


def former(name: str) -> str:
    """Return the name that a setting had in folders of earlier versions."""
    part, dot, own = name.rpartition(".")
    names = {new: old for old, new in OPTIONS.items()}
    return f"{part}{dot}{names.get(own, own)}" if part in ("", "env") else name


def flag(word: str) -> str:
    """Return a word of the command line with the present name of its flag: --learn-after=5, --patience."""
    name, equals, value = word.partition("=")
    if not name.startswith("--"):
        return word
    present = option(name[2:].replace("-", "_"))
    return f"--{present.replace('_', '-')}{equals}{value}" if present != name[2:].replace("-", "_") else word


def metric(column: str) -> str:
    """Return the present name of a column of metrics.csv."""
    phase, slash, rest = column.partition("/")
    group, second, name = rest.partition("/")
    if not second or group not in GROUPS:
        return column
    present = f"{GROUPS[group]}/{name}"
    return f"{phase}{slash}{METRICS.get(present, present)}"
