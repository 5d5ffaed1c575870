"""`--sampler auto`: the sampler that a run's data asks for takes its place before anything is drawn.

config.json names what was chosen, so that a resumed or repeated run draws the same; sampler_choice.json in
the run's folder has the reason, which summary.json repeats.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.atomic_files import write_text
from trajrl.core.console import say
from trajrl.core.json_file import read_object
from trajrl.samplers.auto import AUTO, OFFLINE_ALONE, decide

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore
    from trajrl.training.config import RunConfig

NAME = "sampler_choice.json"


def chosen(
    config: RunConfig, folder: Path, store: TrajectoryStore, agent: Any, write: bool = True
) -> RunConfig:
    """Return the config with the sampler that the store asks for, in place of auto; say and note why.

    Args:
        store: what the run learns from, held-out episodes taken out, nothing shaped
    """
    if config.sampler != AUTO:
        return config
    found = decide(store, getattr(agent, "roles", ()))
    if write:
        facts = {name: None if np.isnan(value) else value for name, value in found.facts._asdict().items()}
        kept = {"sampler": found.sampler, "options": found.options, "reason": found.reason, "facts": facts}
        write_text(folder / NAME, json.dumps(kept, indent=2) + "\n")
    say(found.reason)
    return replace(config, sampler=found.sampler, sampler_options=found.options)


def summary(folder: Path) -> dict[str, Any]:
    """Return what summary.json says of the choice; nothing where the sampler was named."""
    place = folder / NAME
    return {"sampler_choice": read_object(place)} if place.exists() else {}


def was_auto(folder: Path) -> bool:
    """Say whether a run's sampler was chosen by its data."""
    return (folder / NAME).exists()


def require_no_options(config: RunConfig, asked: Mapping[str, Any]) -> None:
    """Refuse options beside auto, and auto where there is no recorded data to decide by."""
    if config.sampler != AUTO and config.offline_sampler != AUTO:
        return
    if config.online:
        raise ValueError(OFFLINE_ALONE)
    if asked:
        raise ValueError(
            f"--sampler auto chooses the options too; leave {', '.join(sorted(asked))} out, or name a sampler"
        )
