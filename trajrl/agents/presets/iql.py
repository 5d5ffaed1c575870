"""Published settings of IQL by task family.

D4RL: ikostrikov/implicit_q_learning, configs/*_config.py (Kostrikov, Nair, Levine 2021, appendix B); that
observations are normalised, which the authors do not, is of tinkoff-ai/CORL, configs/offline/iql/{hopper,
walker2d,halfcheetah}/*.yaml: raw ones score 0 to 29 where normalised have 25 to 76 (hopper, 200,000 steps).
OGBench: seohongpark/fql, agents/iql.py, whose beta is tuned per task; its deviation there is 1 and fixed, and
here it is learned.  Tasks that are not listed take beta 10, a start to tune from.
"""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.diffusion_ql import first_match

PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"run.reward": "iql_locomotion"},
    "paper": {"run.steps": 1_000_000, "run.eval_every": 5_000},
    "standard": {"normalize_obs": True},
}
LOCOMOTION: dict[str, Any] = {"normalize_obs": True, "run.reward": "iql_locomotion"}
HANDS: dict[str, Any] = {"beta": 0.5, "dropout": 0.1}  # kitchen_config.py: expectile 0.7 as elsewhere
OGBENCH: dict[str, Any] = {
    "expectile": 0.9, "beta": 10.0, "width": 512, "depth": 4, "critic_norm": "after", "decay": "none",
    "run.eval_every": 100_000, "run.eval_episodes": 50,
}  # fmt: skip
FAR: dict[str, Any] = {**OGBENCH, "gamma": 0.995}
FAMILIES: dict[str, dict[str, Any]] = {
    "*humanoidmaze*": FAR,  # seohongpark/fql:README.md, its command for IQL
    "*antmaze-giant-navigate*": FAR,  # the discount of its commands for FQL on the same task
    "*antsoccer*": FAR,  # the same
    "*cube-single*singletask*": {**OGBENCH, "beta": 1.0},  # the same README, on the task from pixels
    "*cube-double*singletask*": {**OGBENCH, "beta": 0.3},  # the README of Value Flows, from pixels
    "*cube-triple*singletask*": FAR,  # the same
    "*singletask*": OGBENCH,
    "*antmaze*": {  # antmaze_config.py
        "expectile": 0.9, "beta": 10.0, "run.reward": "iql_antmaze", "run.eval_every": 100_000,
        "run.eval_episodes": 100,
    },
    **{f"*{task}*": HANDS for task in ("kitchen", "pen-", "door-", "hammer-", "relocate-")},
    **{f"*{robot}*": LOCOMOTION for robot in ("halfcheetah", "hopper", "walker2d")},
}  # fmt: skip


def preset(name: str, env: str) -> dict[str, Any]:
    """Return a preset; `paper` takes the settings of the environment's family."""
    return {**PRESETS[name], **(first_match(env, FAMILIES) if name == "paper" else {})}
