"""Settings of CQL as in the public runs: locomotion with a fixed alpha, mazes with a learned one."""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.diffusion_ql import first_match

PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"normalize_obs": True, "actor_lr": 3e-4, "depth": 2, "samples": 4, "alpha": 5.0},
    "paper": {"normalize_obs": True, "run.steps": 1_000_000, "run.eval_every": 5_000},
    "standard": {"normalize_obs": True},
}
MAZES: dict[str, Any] = {
    "alpha": 5.0, "lagrange": True, "goal": 0.8, "best_next": True, "actor_lr": 1e-4,
    "run.eval_every": 50_000, "run.eval_episodes": 100,
}  # fmt: skip


def preset(name: str, env: str) -> dict[str, Any]:
    """Return a preset; `paper` takes the settings of the environment's family."""
    return {**PRESETS[name], **(first_match(env, {"*antmaze*": MAZES}) if name == "paper" else {})}
