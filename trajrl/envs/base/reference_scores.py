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

from trajrl.envs.base.protocol import Score

if TYPE_CHECKING:
    from trajrl.envs.base.wrappers import EnvOptions

BUILT_IN = "measured random and expert"  # of tables/measured_references.json


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
        for entry in found.values():
            span(entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"TRAJRL_REFERENCES={path} is no file of collect --reference ({error!r})") from error
    return dict(found)


def normalised(episode_return: float, low: float, high: float) -> float:
    """Return 100 (R - low) / (high - low)."""
    return 100.0 * (episode_return - low) / (high - low)


def span(entry: dict[str, Any]) -> tuple[float, float]:
    """Return the mean returns of random actions and of the expert."""
    return float(entry["random"]["return_mean"]), float(entry["expert"]["return_mean"])


def measured(name: str, episode_return: float, options: EnvOptions) -> Score:
    """Score a return with references measured in this very environment; none where there are none."""
    own, known = own_references(), table("measured_references")["environments"]
    entry = own.get(name) or known.get(name)
    if entry is None or options.alters_returns:
        return Score(None, "none")
    ends = f"random and expert of {Path(os.environ['TRAJRL_REFERENCES']).name}" if name in own else BUILT_IN
    return Score(normalised(episode_return, *span(entry)), f"{name} ({ends})")
