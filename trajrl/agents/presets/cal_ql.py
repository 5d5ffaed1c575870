"""Settings of Cal-QL as in the public runs, by task family.

antmaze, kitchen and the binary adroit tasks: nakamotoo/Cal-QL, scripts/run_*.sh; there alpha on antmaze is 5
times a learned number that starts at exp(1).  adroit of D4RL: corl-team/CORL, configs/finetune/cal_ql, which
drops the bound online (`--set agent.calibrate=false`); the authors keep it.  Locomotion and OGBench have no
published runs: they take the settings of the method.
"""

from __future__ import annotations

from math import e
from typing import Any

from trajrl.agents.presets.diffusion_ql import first_match

HALVES: dict[str, Any] = {  # of every batch online, offline and new data, drawn as offline
    "run.offline_mode": "mix", "run.offline_fraction": 0.5, "run.sampler": "uniform",
}  # fmt: skip
SHORT: dict[str, Any] = {  # 10,000 updates: values have to reach the scale of the returns first
    "normalize_obs": True, "alpha": 1.0, "actor_lr": 1e-3, "critic_lr": 1e-3, "horizon": 5, "samples": 2,
    "width": 128, "run.reward": "scaled", "run.batch_size": 128,
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "demo": {**HALVES, **SHORT},
    "paper": {**HALVES, "run.steps": 1_000_000, "run.eval_every": 50_000, "run.eval_episodes": 20},
    "standard": HALVES,
}
MAZES: dict[str, Any] = {
    "alpha": 5 * e, "lagrange": True, "goal": 0.8, "critic_depth": 4, "run.reward": "cal_ql_antmaze",
}  # fmt: skip
KITCHEN: dict[str, Any] = {
    "alpha": 5.0, "form": "plain", "width": 512, "depth": 3, "run.steps": 500_000,
    "run.offline_fraction": 0.25,
}  # fmt: skip
BINARY: dict[str, Any] = {
    "alpha": 1.0, "width": 512, "critic_depth": 3, "run.reward": "cal_ql_adroit", "run.steps": 20_000,
    "run.eval_every": 2_000,
}  # fmt: skip
HANDS: dict[str, Any] = {"alpha": 1.0, "depth": 3, "gap_clip": 200.0}
FAMILIES: dict[str, dict[str, Any]] = {
    "*antmaze-umaze*": MAZES,
    "*antmaze-*-play-*": MAZES,
    "*antmaze-*-diverse-*": MAZES,
    "*kitchen*": KITCHEN,
    **{f"*{task}-binary-*": BINARY for task in ("pen", "door", "relocate")},
    **{f"*{task}-*": HANDS for task in ("pen", "door", "hammer", "relocate")},
}


def preset(name: str, env: str) -> dict[str, Any]:
    """Return a preset; `paper` takes the settings of the environment's family."""
    return {**PRESETS[name], **(first_match(env, FAMILIES) if name == "paper" else {})}
