"""The config of an online run: from its offline run, the preset's online settings, and what was given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trajrl.core.console import say
from trajrl.core.json_file import as_written
from trajrl.samplers.auto import AUTO
from trajrl.store.places import absolute, change_places
from trajrl.training.chosen_preset import acted_in, agent_preset, means
from trajrl.training.config import NO_DATA, ONLINE_FIELDS, RunConfig
from trajrl.training.presets import ONLINE, ONLINE_SAMPLER
from trajrl.training.resolve_config import log_every, nearer, resolve_config
from trajrl.training.run_dir.checkpoint_parts import read_part
from trajrl.training.run_dir.folder import newest
from trajrl.training.settings import convert, split_settings
from trajrl.training.weights_meaning import check_meaning


def online_config(
    source: Path, chosen: Mapping[str, Any], settings: Iterable[str], file: Path | None = None
) -> RunConfig:
    """Return the config of an online run that continues from an offline one; what was given wins.

    `file` is the config of an online run that is run again.
    """
    if not (source / "config.json").exists():
        raise FileNotFoundError(f"{source} is not a run directory: it has no config.json")
    base = RunConfig.load(source / "config.json")
    if base.online:
        raise ValueError(f"{source} is an online run; --from takes an offline one")
    for name in ("agent", "data"):
        given = change_places(str(chosen.get(name, getattr(base, name))), absolute)
        if getattr(base, name) != NO_DATA and change_places(getattr(base, name), absolute) != given:
            raise ValueError(f"{source} has {name} {getattr(base, name)}; got --{name} {chosen[name]}")
    if convert("holdout", chosen.get("holdout", base.holdout), 0.0) != base.holdout:
        raise ValueError(
            f"{source} holds out a share of {base.holdout:g} of its episodes, and the online phase the same; "
            "leave --holdout out"
        )
    with as_written(place := newest(source) / "run.json"):
        made = int(read_part(place.parent, "run")["step"])
    if means(str(chosen.get("offline_sampler", "")), base):  # what the offline run drew by
        chosen = {name: value for name, value in chosen.items() if name != "offline_sampler"}
    found = split_settings(settings)
    asked = {**chosen, **found["run"]}
    if file is not None:
        before = RunConfig.load(file)
        side = offline_side(before.offline_sampler, before.offline_sampler_options, asked)
        config = resolve_config(
            {**side, **chosen, "from_run": str(source), "first_step": made}, settings, file
        )
        check_meaning(base, config.agent_options, source)
        return config
    carried = {
        "phase": "online", "from_run": str(source), "first_step": made,
        "sampler": ONLINE_SAMPLER, "sampler_options": {}, "early_stop": 0.0, "eval_async": False,
        **offline_side(base.sampler, base.sampler_options, asked),
    }  # fmt: skip
    preset = online_preset(chosen.get("preset", base.preset), base, asks_for_a_metric(chosen, settings))
    config = resolve_config({**carried, **preset, **chosen}, settings, source / "config.json")
    check_meaning(base, config.agent_options, source)
    return fitted(config, set(asked), found["agent"])


def fitted(config: RunConfig, asked: Collection[str], agent: Mapping[str, Any]) -> RunConfig:
    """Return the config with what depends on the length of the phase; what was asked for stays."""
    shorter = shortened(config, asked)
    if said := [f"{name} {n} instead of {getattr(config, name)}" for name, n in shorter.items()
                if name != "log_every" and n < getattr(config, name)]:  # fmt: skip
        say(f"the phase is short, {config.env_steps} environment steps: {', '.join(said)}")
    config = replace(config, **shorter)
    return replace(config, agent_options={**config.agent_options, **rates(config, agent)})


def offline_side(sampler: str, options: dict[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what draws the offline share: as before, or another sampler, which does not take its options."""
    name = str(asked.get("offline_sampler", sampler))
    return {"offline_sampler": name, "offline_sampler_options": options if name == sampler else {}}


def rates(config: RunConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what becomes of the learning rates' decay: it ended with the offline phase, so there is none.

    A decay asked for online ends with the online phase.
    """
    if "decay" not in config.agent_options:
        return {}
    if "decay" not in given:
        return {"decay": "none"}
    if "decay_steps" in given:
        return {}
    return {"decay_steps": config.first_step + int(config.utd * config.env_steps)}


def shortened(config: RunConfig, asked: Collection[str]) -> dict[str, Any]:
    """Return what suits a short phase: rows and evaluations enough for a curve, and a start in proportion.

    At most an eighth of the phase comes before the first update, and a seventh of the rest until the warm-up
    ends; the demo's are just so long.  What was asked for stays.
    """
    found = {
        "log_every": log_every(config),
        "learning_starts": min(config.learning_starts, config.env_steps // 8),
    }
    start = config.learning_starts if "learning_starts" in asked else found["learning_starts"]
    found["warmup_steps"] = min(config.warmup_steps, start + max(0, config.env_steps - start) // 7)
    found |= nearer(config)
    return {name: value for name, value in found.items() if name not in asked}


def asks_for_a_metric(chosen: Mapping[str, Any], settings: Iterable[str]) -> bool:
    """Say whether a metric was given: it asks for the sampler that ranks by one."""
    found = split_settings(settings)
    return bool({**chosen, **found["run"]}.get("metric")) or "metric" in found["sampler"]


def online_preset(preset: str, base: RunConfig, ranked: bool = False) -> dict[str, Any]:
    """Return what a preset sets online; what the agent's own sets of that phase, or draws with, wins.

    auto, by which one may draw offline, decides nothing there.

    Args:
        ranked: a metric was asked for, so what draws is not the preset's
    """
    run, _ = agent_preset(preset, base.agent, acted_in(base.env, base.data))
    known = ONLINE_FIELDS if ranked else {*ONLINE_FIELDS, "sampler"}
    own = {name: value for name, value in run.items() if name in known and value != AUTO}
    return {**ONLINE.get(preset, ONLINE["paper"]), **own}
