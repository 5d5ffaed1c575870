"""Presets of edp as data."""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.diffusion_ql import DEMO, first_match, of_environment
from trajrl.agents.presets.task_names import ROW

PRESETS: dict[str, dict[str, Any]] = {
    "demo": DEMO,
    "paper": {"act_ema": False, "ema_before": "initial"},
    "standard": {},
}
# Sharp modes need every level.
BANDIT: dict[str, Any] = {"q_term": "awr", "eta": 3.0, "solver": "ddpm", "solver_steps": 0}
RINGS = {**BANDIT, "q_term": "td3", "eta": 1.0}  # weights do not part rings that the policy cannot resolve
BANDITS = {"bandit:rings": RINGS, "bandit:*": BANDIT}
FROM_TABLE = ("actor_clip", "critic_clip", "run.reward", "run.eval_episodes", ROW)


def preset(name: str, env: str) -> dict[str, Any]:
    """Return the settings of preset `name`; `paper` takes clips and rewards published for the environment."""
    table = of_environment(env) if name == "paper" else {}
    published = {key: value for key, value in table.items() if key in FROM_TABLE}
    return {**PRESETS[name], **first_match(env, BANDITS), **published}
