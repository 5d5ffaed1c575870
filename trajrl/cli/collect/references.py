"""`collect --reference`: random and expert returns of an environment, as scores are measured between them.

{"environments": {NAME: {"random": {...}, "expert": {...}}}}      read where $TRAJRL_REFERENCES names the file
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.cli.collect.recipes import make_policy
from trajrl.cli.common import say
from trajrl.core.atomic_files import write_text
from trajrl.core.out_paths import refuse_irregular
from trajrl.core.versions import versions
from trajrl.envs.base.reference_scores import span
from trajrl.rollout.evaluate import evaluate
from trajrl.rollout.policies import RandomPolicy

if TYPE_CHECKING:
    from trajrl.envs.base.suite import Suite
    from trajrl.rollout.history_queue import Actor

MADE_OF = ("gymnasium", "mujoco", "gymnasium-robotics", "robosuite", "ogbench")  # what environments stand on


def measure(
    suite: Suite, expert: str, out: Path, seed: int, episodes: int, envs: int, overwrite: bool = False
) -> dict[str, Any]:
    """Measure uniform actions and the expert, add both to the file `out`, and say how to use it."""
    if suite.options.alters_returns:
        raise ValueError(
            "references belong to an environment as it is: without arguments, frame_skip and time_limit"
        )
    refuse_irregular(out)
    known = references_in(out)  # before hours of measuring
    if suite.name in known["environments"] and not overwrite:
        raise FileExistsError(f"{out} has references of {suite.name}; add --overwrite")
    asked = seed, episodes, envs
    low = returns(RandomPolicy(suite.action_dim), suite, "uniform in [-1, 1]", *asked)
    high = returns(make_policy(expert, suite), suite, expert, *asked)
    if high["return_mean"] <= low["return_mean"]:
        raise ValueError(
            f"{expert} returns {high['return_mean']:.1f}, no more than random actions "
            f"({low['return_mean']:.1f}): it is no expert of {suite.name}"
        )
    entry = {"random": low, "expert": high, "seed": seed, "versions": versions(MADE_OF)}
    known["environments"][suite.name] = entry
    write_text(out, json.dumps(known, indent=1) + "\n")
    for name, found in (("random", low), ("expert", high)):
        say(f"{suite.name}, {name}: return {found['return_mean']:.1f} +- {found['return_std']:.1f}")
    say(f"scores use them where the environment variable TRAJRL_REFERENCES is {out}")
    return {"out": str(out), "environment": suite.name, **entry}


def references_in(path: Path) -> dict[str, Any]:
    """Return what a file of references holds; where there is none, none."""
    if not path.exists():
        return {"environments": {}}
    try:
        found = json.loads(path.read_text())
        for entry in found["environments"].values():
            span(entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} exists and is no file of collect --reference; choose another name"
        ) from error
    return dict(found)


def returns(policy: Actor, suite: Suite, name: str, seed: int, episodes: int, envs: int) -> dict[str, Any]:
    """Return mean, spread and length of a policy's episodes."""
    rows = evaluate(policy, suite, seed, 0, episodes, envs)
    found = np.array([row["return"] for row in rows])
    return {
        "return_mean": float(found.mean()), "return_std": float(found.std()), "episodes": len(rows),
        "length_mean": float(np.mean([row["length"] for row in rows])), "policy": name,
    }  # fmt: skip
