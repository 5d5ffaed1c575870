"""Published settings of ReBRAC by data set, as in the configs of its authors' code (tinkoff-ai/ReBRAC).

A locomotion data set that is not listed takes the family's networks and rates with the default penalties.
The two learning rates of 0.5 and 0.1 there (walker2d expert and random) are slips; 0.001 stands for them.
The antmaze configs have no layer norm in the critic but a norm of its features; here it is the layer norm.
"""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.diffusion_ql import first_match

PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"normalize_obs": True},
    "paper": {"run.steps": 1_000_000, "run.eval_every": 5_000, "run.batch_size": 256},
    "standard": {"normalize_obs": True},
}
LOCOMOTION: dict[str, Any] = {"run.batch_size": 1024}
HANDS: dict[str, Any] = {"actor_lr": 3e-4, "critic_lr": 3e-4}
MAZES: dict[str, Any] = {
    "actor_lr": 3e-4, "critic_lr": 5e-5, "gamma": 0.999, "run.reward": "rebrac_antmaze",
    "run.eval_every": 50_000, "run.eval_episodes": 100,
}  # fmt: skip
PENALTIES: tuple[
    tuple[str, float, float, dict[str, Any]], ...
] = (  # data set, actor_beta, critic_beta, family
    ("*halfcheetah-expert*", 0.01, 0.5, LOCOMOTION),
    ("*halfcheetah-medium-replay*", 0.001, 0.1, LOCOMOTION),
    ("*halfcheetah-medium-v*", 0.001, 0.5, LOCOMOTION),
    ("*hopper-medium-v*", 0.01, 0.001, LOCOMOTION),
    ("*hopper-random*", 0.01, 0.5, LOCOMOTION),
    ("*walker2d-expert*", 0.01, 0.5, LOCOMOTION),
    ("*walker2d-full-replay*", 0.01, 0.001, LOCOMOTION),
    ("*walker2d-medium-expert*", 0.01, 0.001, LOCOMOTION),
    ("*walker2d-medium-v*", 0.05, 0.0, LOCOMOTION),
    ("*walker2d-random*", 0.01, 0.0, LOCOMOTION),
    ("*pen-human*", 0.1, 0.5, HANDS),
    ("*pen-cloned*", 0.05, 0.5, HANDS),
    ("*door-cloned*", 0.01, 0.1, HANDS),
    ("*hammer-cloned*", 0.1, 0.5, HANDS),
    ("*relocate-cloned*", 0.1, 0.01, HANDS),
    ("*antmaze-umaze-diverse*", 0.003, 0.0005, MAZES),
    ("*antmaze-umaze*", 0.003, 0.002, MAZES),
    ("*antmaze-medium-play*", 0.003, 0.0, MAZES),
    ("*antmaze-medium-diverse*", 0.002, 0.0005, MAZES),
    ("*antmaze-large*", 0.002, 0.002, MAZES),
)
TABLE: dict[str, dict[str, Any]] = {
    **{
        name: {**family, "actor_beta": actor, "critic_beta": critic}
        for name, actor, critic, family in PENALTIES
    },
    **{f"*{robot}*": LOCOMOTION for robot in ("halfcheetah", "hopper", "walker2d")},
    **{f"*{task}-*": HANDS for task in ("pen", "door", "hammer", "relocate")},
}


def preset(name: str, env: str) -> dict[str, Any]:
    """Return a preset; `paper` takes the penalties of the data set, or else the settings of its family."""
    return {**PRESETS[name], **(first_match(env, TABLE) if name == "paper" else {})}
