"""Settings of IFQL by OGBench task, as in the public code of flow Q-learning (seohongpark/fql).

agents/ifql.py there has expectile 0.9, 32 samples, layers of 4 x 512 with a norm in V and Q: the defaults.
"""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.diffusion_ql import first_match

PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"width": 256, "depth": 3},
    "paper": {"run.steps": 1_000_000, "run.eval_every": 100_000, "run.eval_episodes": 50},
    "standard": {},
}
FAR: dict[str, Any] = {"gamma": 0.995}  # discount
HANDS: dict[str, Any] = {"run.steps": 500_000}  # offline_steps, as the README there has for adroit
FAMILIES: dict[str, dict[str, Any]] = {
    "*humanoidmaze*": FAR,  # seohongpark/fql:README.md, its command for IFQL
    "*antmaze-giant-navigate*": FAR,  # the same README, its commands for FQL on the same task
    "*antsoccer*": FAR,  # the same
    "*cube-triple*": FAR,  # the README of Value Flows, its command for IFQL
    **{f"*{task}-*": HANDS for task in ("pen", "door", "hammer", "relocate")},
}


def preset(name: str, env: str) -> dict[str, Any]:
    """Return a preset; `paper` takes the settings of the environment's family."""
    return {**PRESETS[name], **(first_match(env, FAMILIES) if name == "paper" else {})}
