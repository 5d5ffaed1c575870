"""Published settings of ReBRAC by data set, as in its authors' configs (tinkoff-ai/ReBRAC, corl-team/CORL).

The two learning rates of 0.5 and 0.1 there (walker2d expert and random) are slips; 0.001 stands for them.
The antmaze configs have no layer norm in the critic but a norm of its features; here it is the layer norm.
OGBench: seohongpark/fql, agents/rebrac.py, whose penalties are tuned per task; tasks that are not listed take
the default penalties with its networks.
"""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.diffusion_ql import first_match

PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"normalize_obs": True, "actor_beta": 0.1, "critic_beta": 0.01},  # of hopper-medium-expert
    "paper": {"run.steps": 1_000_000, "run.eval_every": 5_000, "run.batch_size": 256},
    "standard": {"normalize_obs": True},
}
LOCOMOTION: dict[str, Any] = {"run.batch_size": 1024}
HANDS: dict[str, Any] = {"actor_lr": 3e-4, "critic_lr": 3e-4}
MAZES: dict[str, Any] = {
    "actor_lr": 3e-4, "critic_lr": 5e-5, "gamma": 0.999, "run.reward": "rebrac_antmaze",
    "run.eval_every": 50_000, "run.eval_episodes": 100,
}  # fmt: skip
OGBENCH: dict[str, Any] = {
    "actor_lr": 3e-4, "critic_lr": 3e-4, "width": 512, "depth": 4, "run.eval_every": 100_000,
    "run.eval_episodes": 50,
}  # fmt: skip
PENALTIES: tuple[
    tuple[str, float, float, dict[str, Any]], ...
] = (  # data set, actor_beta, critic_beta, family
    ("*humanoidmaze*", 0.01, 0.01, {**OGBENCH, "gamma": 0.995}),  # seohongpark/fql:README.md, for ReBRAC
    ("*cube-single*singletask*", 1.0, 0.0, OGBENCH),  # the same, on the task from pixels
    ("*cube-double*singletask*", 0.1, 0.0, OGBENCH),  # the README of Value Flows, from pixels
    ("*singletask*", 0.01, 0.01, OGBENCH),
    ("*halfcheetah-expert*", 0.01, 0.5, LOCOMOTION),
    ("*halfcheetah-full-replay*", 0.001, 0.1, LOCOMOTION),
    ("*halfcheetah-medium-expert*", 0.01, 0.1, LOCOMOTION),
    ("*halfcheetah-medium-replay*", 0.001, 0.1, LOCOMOTION),
    ("*halfcheetah-medium-v*", 0.001, 0.5, LOCOMOTION),
    ("*halfcheetah-random*", 0.001, 0.1, LOCOMOTION),
    ("*hopper-expert*", 0.1, 0.1, LOCOMOTION),
    ("*hopper-full-replay*", 0.01, 0.01, LOCOMOTION),
    ("*hopper-medium-expert*", 0.1, 0.01, LOCOMOTION),
    ("*hopper-medium-replay*", 0.05, 0.5, LOCOMOTION),
    ("*hopper-medium-v*", 0.01, 0.001, LOCOMOTION),
    ("*hopper-random*", 0.01, 0.5, LOCOMOTION),
    ("*walker2d-expert*", 0.01, 0.5, LOCOMOTION),
    ("*walker2d-full-replay*", 0.01, 0.001, LOCOMOTION),
    ("*walker2d-medium-expert*", 0.01, 0.001, LOCOMOTION),
    ("*walker2d-medium-replay*", 0.05, 0.01, LOCOMOTION),
    ("*walker2d-medium-v*", 0.05, 0.0, LOCOMOTION),
    ("*walker2d-random*", 0.01, 0.0, LOCOMOTION),
    ("*pen-human*", 0.1, 0.5, HANDS),
    ("*pen-cloned*", 0.05, 0.5, HANDS),
    ("*pen-expert*", 0.01, 0.01, HANDS),
    ("*door-human*", 0.1, 0.1, HANDS),
    ("*door-cloned*", 0.01, 0.1, HANDS),
    ("*door-expert*", 0.05, 0.01, HANDS),
    ("*hammer-human*", 0.01, 0.5, HANDS),
    ("*hammer-cloned*", 0.1, 0.5, HANDS),
    ("*hammer-expert*", 0.01, 0.01, HANDS),
    ("*relocate-human*", 0.1, 0.01, HANDS),
    ("*relocate-cloned*", 0.1, 0.01, HANDS),
    ("*relocate-expert*", 0.05, 0.01, HANDS),
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
