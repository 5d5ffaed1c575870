"""Settings of IFQL by OGBench task, as in the public code of flow Q-learning (seohongpark/fql).

agents/ifql.py there has expectile 0.9, 32 samples, layers of 4 x 512 with a norm in V and Q: the defaults.
"""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.diffusion_ql import first_match

SHORT: dict[str, Any] = {  # 10,000 updates: values of long returns are soon near, and few samples err less
    "history": 2, "gru_width": 64, "width": 128, "depth": 3, "normalize_obs": True, "actor_lr": 2e-3,
    "critic_lr": 1e-3, "horizon": 25, "expectile": 0.7, "samples": 10, "run.reward": "scaled",
}  # fmt: skip
ROOMS: dict[str, Any] = {"width": 256, "depth": 3}  # the demo on toy:rooms: all is seen, rewards are near
PRESETS: dict[str, dict[str, Any]] = {
    "demo": SHORT,
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
    if name == "demo" and env == "toy:rooms":
        return dict(ROOMS)
    return {**PRESETS[name], **(first_match(env, FAMILIES) if name == "paper" else {})}
