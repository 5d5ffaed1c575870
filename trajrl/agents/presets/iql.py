"""Published settings of IQL by task family (Kostrikov, Nair, Levine 2021, section 5 and appendix B)."""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.diffusion_ql import first_match

PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"run.reward": "iql_locomotion"},
    "paper": {"run.steps": 1_000_000, "run.eval_every": 5_000},
    "standard": {},
}
HANDS: dict[str, Any] = {"beta": 0.5, "dropout": 0.1}  # human demonstrations: expectile 0.7 as elsewhere
FAMILIES: dict[str, dict[str, Any]] = {
    "*antmaze*": {
        "expectile": 0.9, "beta": 10.0, "run.reward": "iql_antmaze", "run.eval_every": 100_000,
        "run.eval_episodes": 100,
    },
    **{f"*{task}*": HANDS for task in ("kitchen", "pen-", "door-", "hammer-", "relocate-")},
    **{f"*{robot}*": {"run.reward": "iql_locomotion"} for robot in ("halfcheetah", "hopper", "walker2d")},
}  # fmt: skip


def preset(name: str, env: str) -> dict[str, Any]:
    """Return a preset; `paper` takes the settings of the environment's family."""
    return {**PRESETS[name], **(first_match(env, FAMILIES) if name == "paper" else {})}
