"""Presets of eg_ood as data."""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.diffusion_ql import DEMO, first_match
from trajrl.agents.presets.qg import published

PRESETS: dict[str, dict[str, Any]] = {
    "demo": DEMO,
    "paper": {"act_ema": False, "ema_before": "initial", "decay": "as_run"},
    "standard": {},
}


def preset(name: str, env: str) -> dict[str, Any]:
    """Return the settings of preset `name`; `paper` adds those of the table that it shares with QG.

    max_q_backup of that table is left out: the published code fails with it, and the target here takes one
    action.  Bandits have the guidance published for them.
    """
    found = published(env)[0] if name == "paper" else {}
    return {**PRESETS[name], **found, **first_match(env, {"bandit:*": {"eta": 3.0}})}
