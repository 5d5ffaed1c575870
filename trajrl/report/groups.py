"""Which runs are repeats of one another: the same task and the same settings under other seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

INCIDENTAL = {  # how a run is carried out and watched: tells no groups apart
    "seed", "device", "threads", "preset", "format", "memory", "eval_envs", "log_every", "eval_every",
    "first_eval", "eval_episodes", "last_eval_episodes", "checkpoint_every", "wandb", "patience",
    "max_failures", "from_run", "first_step",
}  # fmt: skip
SAME = {"metric": "sampler.metric", "agent.decay_steps": "steps"}  # the first follows from the second
MOST_NAMED = 3  # settings named in a group beside agent and sampler


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
    """Name the settings of runs in one environment; an option is only named where its owner is shared."""
    named = []
    for name in differences(flat):
        owner = name.split(".")[0]
        shared = "." not in name or len({_text(config, owner) for config in flat}) == 1
        if shared and name not in INCIDENTAL | {"agent", "sampler"}:
            named.append(name)
    named = [name for name in named if SAME.get(name) not in named]
    names = []
    for config in flat:
        rest = [f"{name}={config[name]}" for name in named if config.get(name) not in (None, "")]
        dots = ["..."] if len(rest) > MOST_NAMED else []
        names.append(
            ", ".join([str(config["agent"]), str(config.get("sampler", "")), *rest[:MOST_NAMED], *dots])
        )
    return names


def _text(config: dict[str, Any], name: str) -> str:
    return json.dumps(config.get(name, "missing"), sort_keys=True)
