"""Settings of AWAC as in the public runs (corl-team/CORL, configs/offline/awac), by task family."""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.diffusion_ql import first_match

PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"normalize_obs": True},
    "paper": {"normalize_obs": True, "run.steps": 1_000_000, "run.eval_every": 5_000},
    "standard": {"normalize_obs": True},
}
LOCOMOTION: dict[str, Any] = {"temperature": 0.3333}  # awac_lambda of hopper/, halfcheetah/ and walker2d/
MAZES: dict[str, Any] = {  # antmaze/: awac_lambda, n_test_episodes; normalize_reward takes 1 off
    "temperature": 0.1, "run.reward": "iql_antmaze", "run.eval_every": 50_000, "run.eval_episodes": 100,
}  # fmt: skip
HANDS: dict[str, Any] = {"temperature": 0.1}  # awac_lambda of pen/, door/, hammer/ and relocate/
FAMILIES: dict[str, dict[str, Any]] = {
    "*singletask*": {},  # OGBench has no published runs
    "*antmaze*": MAZES,
    **{f"*{task}-*": HANDS for task in ("pen", "door", "hammer", "relocate")},
    **{f"*{robot}*": LOCOMOTION for robot in ("halfcheetah", "hopper", "walker2d")},
}


def preset(name: str, env: str) -> dict[str, Any]:
    """Return a preset; `paper` takes the settings of the environment's family."""
    return {**PRESETS[name], **(first_match(env, FAMILIES) if name == "paper" else {})}
