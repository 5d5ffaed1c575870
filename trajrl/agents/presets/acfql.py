"""Published settings of flow Q-learning as data: QC-FQL (paper), QC, BFN, FQL with its table, BFN-n, FQL-n.

Any other environment takes the settings of the method; alpha 10 of FQL is then a start to tune from.  The
sparse reward is Q-chunking's; FQL's own numbers on scene and puzzle-3x3 need `--set env.sparse=false`.
"""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.task_names import ROW, fits
from trajrl.core.registry import unknown

PUBLISHED: dict[str, Any] = {
    "normalize_q": False, "partial_chunks": "drop", "count_padding": True, "late_targets": True,
    "action_margin": 1e-5, "run.steps": 1_000_000, "run.eval_every": 100_000, "run.eval_episodes": 50,
    "run.sampler": "uniform",  # online too, unless a sampler or a metric is asked for
}  # fmt: skip
BFN: dict[str, Any] = {**PUBLISHED, "actor": "best_of_n", "chunk": 1, "samples": 4}
N_STEP: dict[str, Any] = {"horizon": 5}  # rewards before the bootstrap, of a policy of single actions
PRESETS: dict[str, dict[str, Any]] = {
    "bfn": BFN,
    "bfn_n": {**BFN, **N_STEP},
    "demo": {"width": 256, "depth": 3},
    "fql": {**PUBLISHED, "chunk": 1, "alpha": 10.0},
    "fql_n": {**PUBLISHED, **N_STEP, "chunk": 1, "alpha": 100.0},  # alpha of ColinQiyangLi/qc:README.md
    "fql_online": {**PUBLISHED, "chunk": 1, "alpha": 10.0},
    "paper": {**PUBLISHED, "alpha": 100.0},  # QC-FQL; alpha is to be tuned per environment
    "qc": {**PUBLISHED, "actor": "best_of_n"},
    "small": {  # QC-FQL for two cores: scale-free, so that one alpha serves all tasks; smaller networks
        "width": 256,
        "depth": 3,
        "flow_steps": 5,
        "run.sampler": "uniform",
    },
    "standard": {},
}
ROOMS: dict[str, Any] = {  # the demo on toy:rooms: short, so a nearer horizon, small and fast networks
    "gamma": 0.95, "width": 128, "depth": 2, "flow_steps": 5, "actor_lr": 1e-3, "critic_lr": 1e-3,
    "run.steps": 4_000, "run.batch_size": 128,
}  # fmt: skip
SHORT: dict[str, Any] = {  # and minutes for both phases
    "run.eval_every": 1_000, "run.eval_episodes": 50, "run.env_steps": 6_000, "run.learning_starts": 500,
    "run.warmup_steps": 1_000, "run.envs": 5,
}  # fmt: skip
PIXELS: dict[str, Any] = {  # the same seen as images: a small encoder, and few updates of it
    **ROOMS, "image_features": 64, "image_patch": 4, "width": 256, "chunk": 3, "alpha": 30.0,
    "run.steps": 3_000, "run.batch_size": 64, "run.eval_every": 1_000, "run.first_eval": 0,
}  # fmt: skip
D4RL: dict[str, Any] = {"run.steps": 500_000}  # offline_steps of the public runs on D4RL
CAUTIOUS: dict[str, Any] = {"q_agg": "min"}
HANDS: dict[str, Any] = {**D4RL, **CAUTIOUS}
FAR: dict[str, Any] = {"gamma": 0.995}
FQL: tuple[tuple[str, float, dict[str, Any]], ...] = (  # environment, alpha, what else differs
    ("*antmaze-umaze*", 10, D4RL),
    ("*antmaze-medium-play*", 10, D4RL),
    ("*antmaze-medium-diverse*", 10, D4RL),
    ("*antmaze-large-play*", 3, D4RL),
    ("*antmaze-large-diverse*", 3, D4RL),
    ("*antmaze-large-navigate*", 10, CAUTIOUS),
    ("*antmaze-giant-navigate*", 10, CAUTIOUS | FAR),
    ("*antsoccer-*", 10, FAR),
    ("*humanoidmaze-*", 30, FAR),
    ("*cube-single-*", 300, {}),
    ("*cube-double-*", 300, {}),
    ("*cube-triple-*", 100, {}),  # ColinQiyangLi/qc:README.md, its command for FQL
    ("*scene-*", 300, {}),
    ("*puzzle-3x3-*", 1000, {}),
    ("*puzzle-4x4-*", 1000, {}),
    ("*pen-human-*", 10_000, HANDS),
    ("*pen-cloned-*", 10_000, HANDS),
    ("*pen-expert-*", 3000, HANDS),
    ("*door-*", 30_000, HANDS),
    ("*hammer-human-*", 30_000, HANDS),
    ("*hammer-cloned-*", 10_000, HANDS),
    ("*hammer-expert-*", 30_000, HANDS),
    ("*relocate-human-*", 10_000, HANDS),
    ("*relocate-cloned-*", 30_000, HANDS),
    ("*relocate-expert-*", 30_000, HANDS),
)
FQL_ONLINE: tuple[tuple[str, float, dict[str, Any]], ...] = (  # what changes where online learning follows
    ("*humanoidmaze-medium-*", 100, {}),
    ("*antsoccer-*", 30, {}),
    ("*pen-cloned-*", 1000, {}),
    ("*door-cloned-*", 1000, {}),
    ("*hammer-cloned-*", 1000, {}),
    ("*relocate-cloned-*", 10_000, {}),
)
# Of D4RL: forks of the Q-chunking code take 1 off every reward there; the original was not at hand to read.
MAZES = ("*antmaze-umaze*", "*antmaze-*-play*", "*antmaze-*-diverse*")
# Q-chunking runs these with every unsolved step at -1 (ColinQiyangLi/qc:README.md, --sparse=True).
SPARSE = ("*scene-*singletask-*", "*puzzle-3x3-*singletask-*")


def preset(name: str, env: str) -> dict[str, Any]:
    """Return the settings of preset `name`; published ones and the demo add what suits the environment."""
    if name not in PRESETS:
        raise ValueError(unknown("preset of acfql", name, PRESETS))
    table = {"fql": FQL, "fql_online": FQL + FQL_ONLINE}.get(name, ())
    found = dict(PRESETS[name])
    if name in ("demo", "small") and env == "toy:rooms":
        found |= ROOMS | (SHORT if name == "small" else {})
    if name == "demo" and env == "toy:rooms-pixels":
        found |= PIXELS
    if ("late_targets" in found or name == "small") and any(fits(env, pattern) for pattern in SPARSE):
        found["run.env_options"] = {"sparse": True}
    if "late_targets" in found and any(fits(env, pattern) for pattern in MAZES):
        found["run.reward"] = "iql_antmaze"
    for pattern, alpha, rest in table:
        if fits(env, pattern):
            found |= {"alpha": float(alpha), **rest, ROW: pattern}
    return found
