"""Which runs are repeats of one another: the same task and the same settings under other seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

INCIDENTAL = {  # how a run is carried out and watched: tells no groups apart
    "seed", "device", "threads", "preset", "format", "memory", "eval_envs", "eval_async", "eval_workers",
    "log_every", "eval_every",
    "first_eval", "eval_episodes", "last_eval_episodes", "video_every", "checkpoint_every", "wandb",
    "mlflow", "env_timeout", "max_failures", "from_run", "first_step",
}  # fmt: skip
SAME = ("metric", "agent.decay_steps")  # follow from sampler.metric and steps


def group_names(configs: Sequence[dict[str, Any]], environments: Sequence[str]) -> list[str]:
    """Name each run's settings by agent, sampler, and what else differs between runs of its environment."""
    names = [""] * len(configs)
    flat = [flatten(config) for config in configs]
    for environment in dict.fromkeys(environments):
        places = [place for place, other in enumerate(environments) if other == environment]
        for place, name in zip(places, _names([flat[place] for place in places])):
            names[place] = name
    return names


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a config's fields without nesting: {'agent_options': {'eta': 1}} -> {'agent.eta': 1}."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        short = prefix + name.removesuffix("_options")
        flat.update(flatten(value, short + ".") if isinstance(value, dict) else {short: value})
    return flat


def differences(flat: Sequence[dict[str, Any]]) -> list[str]:
    """Return the fields in which configs differ, in order; a missing field is a value too."""
    fields = dict.fromkeys(name for config in flat for name in config)
    return [name for name in fields if len({_text(config, name) for config in flat}) > 1]


def _names(flat: Sequence[dict[str, Any]]) -> list[str]:
    """Name the settings of runs in one environment by as few fields as tell them apart."""
    settings = [name for name in differences(flat) if name not in INCIDENTAL]
    wanted = len({_label(config, settings) for config in flat})
    named = ["agent", "sampler"]
    for name in sorted(settings, key=lambda name: name in SAME):  # derived ones last
        if len({_label(config, named) for config in flat}) == wanted:
            break
        if len({_label(config, [*named, name]) for config in flat}) > len({_label(c, named) for c in flat}):
            named.append(name)
    return [", ".join(filter(None, [_said(config, name) for name in named])) for config in flat]


def _label(config: dict[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(_text(config, name) for name in names)


def _said(config: dict[str, Any], name: str) -> str:
    """Write one setting: agent and sampler by value alone, others with their name, unset ones not at all."""
    value = config.get(name)
    if value in (None, ""):
        return ""
    return str(value) if name in ("agent", "sampler", "phase") else f"{name}={value}"


def _text(config: dict[str, Any], name: str) -> str:
    return json.dumps(config.get(name, "missing"), sort_keys=True)
