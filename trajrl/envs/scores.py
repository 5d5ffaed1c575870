"""Reference scores per environment version: 100 (R - random) / (expert - random), each with its provenance.

D4RL's references belong to D4RL's own environments (MuJoCo 2.x).  A Gymnasium version has references measured
in that version; one without any has no score.
"""

from __future__ import annotations

import json
import os
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajrl.envs.protocol import Score

if TYPE_CHECKING:
    from trajrl.envs.wrappers import EnvOptions


@cache
def table(name: str) -> dict[str, Any]:
    """Read a reference table of the package by file name."""
    return json.loads((files("trajrl.envs") / "tables" / f"{name}.json").read_text())


def own_references() -> dict[str, Any]:
    """Return what `collect --reference` measured, where $TRAJRL_REFERENCES names its file."""
    path = os.environ.get("TRAJRL_REFERENCES")
    if not path:
        return {}
    try:
        found = json.loads(Path(path).read_text())["environments"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"TRAJRL_REFERENCES={path} is no file of collect --reference ({error!r})") from error
    return dict(found)


def normalised(episode_return: float, low: float, high: float) -> float:
    """Return 100 (R - low) / (high - low)."""
    return 100.0 * (episode_return - low) / (high - low)


def measured(name: str, episode_return: float, options: EnvOptions) -> Score:
    """Score a return with references measured in this very environment; none where there are none."""
    known = {**table("measured_references")["environments"], **own_references()}
    if name not in known or options.alters_returns:
        return Score(None, "none")
    entry = known[name]
    value = normalised(episode_return, entry["random"]["return_mean"], entry["expert"]["return_mean"])
    return Score(value, f"{name} (measured random and expert)")
