"""Presets of trajectory_ql as data."""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.diffusion_ql import of_environment

Drawn = dict[str, tuple[str, dict[str, Any]]]  # by the name of a sampler: another, and options of it

# A policy that clones, sharp and small; values in-sample, over long returns; they choose among its actions.
CHOOSING: dict[str, Any] = {
    "history": 2, "gru_width": 64, "width": 128, "expectile": 0.7, "eta": 0.0, "actor_lr": 2e-3,
    "critic_lr": 1e-3, "normalize_obs": True, "run.reward": "scaled",
}  # fmt: skip
DENSEST: dict[str, Any] = {  # among many from a sharp clone: the one that most are near to, of the good
    **CHOOSING, "predicts": "action", "candidates": 32, "temperature": 2.0, "pick": "densest", "critics": 5,
    "decay": "none",
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "demo": DENSEST,
    "paper": {
        "horizon": 1, "eta": 1.0, "candidates": 50, "temperature": 1.0, "standardise_q": False,
        "act_ema": False, "ema_every": 5, "ema_start": 1000, "critic_norm": "none", "actor_lr": 3e-4,
        "decay": "as_run", "gru_width": 256,
    },
    "standard": {**DENSEST, "run.sampler": "auto"},
}  # fmt: skip
# What the demo means by a sampler named alone: the policy learns from all clusters alike, then mostly from
# the best one; values need the others to the end.
DRAWN: Drawn = {
    "cluster": ("policy=cluster values=uniform", {"tilt": 4.0, "tilt_from": 5_000, "tilt_ramp": 500}),
}
ROOMS: dict[str, Any] = {  # the demo on toy:rooms: all is seen, rewards are near
    **CHOOSING,
    "history": 1, "horizon": 5, "gamma": 0.95, "expectile": 0.9, "candidates": 16, "temperature": 0.1,
    "depth": 2, "run.steps": 4_000, "run.batch_size": 128,
}  # fmt: skip


def drawn(name: str, env: str) -> Drawn:
    """Return what preset `name` means offline by samplers named alone; others mean what is said."""
    return DRAWN if name == "demo" and env != "toy:rooms" else {}


def preset(name: str, env: str) -> dict[str, Any]:
    """Return the settings of preset `name`; `paper` takes what was published for Diffusion-QL there."""
    if name == "standard" and env.startswith("bandit:"):
        return {}  # one sample is measured there, so the policy itself has to maximise Q
    if name == "demo" and env == "toy:rooms":
        return dict(ROOMS)
    if name != "paper":
        return dict(PRESETS[name])
    table = of_environment(env)
    best_of_next = {"target_candidates": 10} if table.pop("max_q_backup", False) else {}
    return {**PRESETS[name], **table, **best_of_next}
