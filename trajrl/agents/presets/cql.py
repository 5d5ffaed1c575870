"""Settings of CQL as in the public runs, by task family.

locomotion, antmaze, adroit: corl-team/CORL, configs/offline/cql; the layers of values on antmaze are there as
q_n_hidden_layers.  There alpha is 5 times a learned number that starts at exp(1).
kitchen: nakamotoo/Cal-QL, scripts/run_kitchen.sh, whose enable_calql=False is CQL.
OGBench has no published runs: it takes the settings of the method.
"""

from __future__ import annotations

from math import e
from typing import Any

from trajrl.agents.presets.diffusion_ql import first_match

PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"normalize_obs": True, "actor_lr": 3e-4, "depth": 2, "samples": 4, "alpha": 5.0},
    "paper": {"run.steps": 1_000_000, "run.eval_every": 5_000},
    "standard": {"normalize_obs": True},
}
LOCOMOTION: dict[str, Any] = {"normalize_obs": True}  # alpha 10, actor_lr 3e-5, 3 layers: the defaults
MAZES: dict[str, Any] = {
    "alpha": 5 * e, "lagrange": True, "goal": 0.8, "gap_clip": 200.0, "best_next": True, "actor_lr": 1e-4,
    "critic_depth": 5, "run.reward": "cal_ql_antmaze", "run.eval_every": 50_000, "run.eval_episodes": 100,
}  # fmt: skip
HANDS: dict[str, Any] = {"alpha": 1.0, "actor_lr": 1e-4, "normalize_obs": True}
KITCHEN: dict[str, Any] = {
    "alpha": 5.0, "form": "plain", "best_next": True, "actor_lr": 1e-4, "width": 512, "depth": 3,
    "run.steps": 500_000, "run.eval_every": 50_000, "run.eval_episodes": 20,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "*antmaze-umaze*": MAZES,
    "*antmaze-*-play-*": MAZES,
    "*antmaze-*-diverse-*": MAZES,
    "*kitchen*": KITCHEN,
    **{f"*{task}-*": HANDS for task in ("pen", "door", "hammer", "relocate")},
    **{f"*{robot}*": LOCOMOTION for robot in ("halfcheetah", "hopper", "walker2d")},
}


def preset(name: str, env: str) -> dict[str, Any]:
    """Return a preset; `paper` takes the settings of the environment's family."""
    return {**PRESETS[name], **(first_match(env, FAMILIES) if name == "paper" else {})}
