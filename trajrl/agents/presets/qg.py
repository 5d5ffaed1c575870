"""Published settings of Q-guided score matching per environment; those of the out-of-distribution guard too.

Every row: DarthUtopian/Online-Adaptive-Diffusion-Policies:main.py, `hyperparameters`, read at de9cc05.  One
table serves all its algorithms there, qg and eg_ood among them; five steps of diffusion, schedule vp.
"""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.diffusion_ql import Row, first_match, of_environment

# pattern, actor's lr, eta, max_q_backup, reward transform, epochs, bound on both gradients, rank selected
TABLE: tuple[Row, ...] = (
    ("*halfcheetah-random-v2", 3e-4, 0.2, False, "no", 2000, 2.0, 0),
    ("*walker2d-random-v2", 3e-4, 0.2, False, "no", 2000, 2.0, 0),
    ("*halfcheetah-medium-v2", 3e-4, 0.2, False, "no", 2000, 2.0, 0),
    ("*hopper-medium-v2", 3e-4, 0.2, False, "no", 2000, 2.0, 0),
    ("*walker2d-medium-v2", 3e-4, 0.2, False, "no", 2000, 1.0, 0),
    ("*halfcheetah-medium-replay-v2", 3e-4, 0.2, False, "no", 2000, 2.0, 0),
    ("*hopper-medium-replay-v2", 3e-4, 0.2, False, "no", 2000, 2.0, 0),
    ("*walker2d-medium-replay-v2", 3e-4, 0.2, False, "no", 2000, 4.0, 0),
    ("*halfcheetah-medium-expert-v2", 3e-4, 0.2, False, "no", 2000, 2.0, 0),
    ("*hopper-medium-expert-v2", 3e-4, 0.2, False, "no", 2000, 5.0, 0),
    ("*walker2d-medium-expert-v2", 3e-4, 0.2, False, "no", 2000, 5.0, 0),
    ("*antmaze-umaze-v0", 3e-4, 0.2, False, "cql_antmaze", 1000, 2.0, 2),
    ("*antmaze-umaze-diverse-v0", 3e-4, 2.0, True, "cql_antmaze", 1000, 3.0, 2),
    ("*antmaze-medium-play-v0", 1e-3, 2.0, True, "cql_antmaze", 1000, 2.0, 1),
    ("*antmaze-medium-diverse-v0", 3e-4, 3.0, True, "cql_antmaze", 1000, 1.0, 1),
    ("*antmaze-large-play-v0", 3e-4, 2.0, True, "cql_antmaze", 1000, 5.0, 2),
    ("*antmaze-large-diverse-v0", 3e-4, 1.0, True, "cql_antmaze", 1000, 7.0, 1),
    ("*pen-human-v1", 3e-5, 0.15, False, "normalize", 1000, 7.0, 2),
    ("*pen-cloned-v1", 3e-5, 0.1, False, "normalize", 1000, 8.0, 2),
    ("*kitchen-complete-v0", 3e-4, 0.005, False, "no", 250, 9.0, 2),
    ("*kitchen-partial-v0", 3e-4, 0.005, False, "no", 1000, 10.0, 2),
    ("*kitchen-mixed-v0", 3e-4, 0.005, False, "no", 1000, 10.0, 0),
)  # fmt: skip
BEST_OF_NEXT = 10  # next actions that max_q_backup takes the best of: agents/qg_diffusion.py there
PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"actor_lr": 1e-3, "decay": "update", "critic_norm": "before"},
    "paper": {"act_ema": False, "ema_before": "initial", "decay": "as_run"},
    "standard": {},
}
BANDITS: dict[str, dict[str, Any]] = {  # the same repository's bandit_toy.py
    "bandit:*": {"eta": 3.0, "diffusion_steps": 100, "actor_clip": 2.0, "critic_clip": 2.0},
}


def published(env: str) -> tuple[dict[str, Any], bool]:
    """Return what the table says of an environment, and whether its targets take the best next action."""
    found = of_environment(env, TABLE)
    return found, bool(found.pop("max_q_backup", False))


def preset(name: str, env: str) -> dict[str, Any]:
    """Return the settings of preset `name`; `paper` adds the table's, and bandits have theirs in each."""
    found, best = published(env) if name == "paper" else ({}, False)
    several = {"target_candidates": BEST_OF_NEXT} if best else {}
    return {**PRESETS[name], **found, **several, **first_match(env, BANDITS)}
