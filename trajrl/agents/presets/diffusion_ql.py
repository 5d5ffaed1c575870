"""Published settings of Diffusion-QL per environment, as data: a pattern and what it changes.

Any other environment takes the agent's defaults.  Names that begin with "run." are the run's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trajrl.agents.presets.task_names import ROW, fits

EPOCH = 1000  # updates
DEMO: dict[str, Any] = {  # of the agents that maximise Q on the demo store: sharp soon, few candidates
    "actor_lr": 1e-3, "decay": "update", "critic_norm": "before", "candidates": 10, "run.steps": 4_000,
}  # fmt: skip

# pattern, actor's lr, eta, max_q_backup, reward transform, epochs, bound on both gradients, rank selected
Row = tuple[str, float, float, bool, str, int, float, int]
TABLE: tuple[Row, ...] = (
    ("*halfcheetah-medium-v2", 3e-4, 1.0, False, "no", 2000, 9.0, 1),
    ("*hopper-medium-v2", 3e-4, 1.0, False, "no", 2000, 9.0, 2),
    ("*walker2d-medium-v2", 3e-4, 1.0, False, "no", 2000, 1.0, 1),
    ("*halfcheetah-medium-replay-v2", 3e-4, 1.0, False, "no", 2000, 2.0, 0),
    ("*hopper-medium-replay-v2", 3e-4, 1.0, False, "no", 2000, 4.0, 2),
    ("*walker2d-medium-replay-v2", 3e-4, 1.0, False, "no", 2000, 4.0, 1),
    ("*halfcheetah-medium-expert-v2", 3e-4, 1.0, False, "no", 2000, 7.0, 0),
    ("*hopper-medium-expert-v2", 3e-4, 1.0, False, "no", 2000, 5.0, 2),
    ("*walker2d-medium-expert-v2", 3e-4, 1.0, False, "no", 2000, 5.0, 1),
    ("*antmaze-umaze-v0", 3e-4, 0.5, False, "cql_antmaze", 1000, 2.0, 2),
    ("*antmaze-umaze-diverse-v0", 3e-4, 2.0, True, "cql_antmaze", 1000, 3.0, 2),
    ("*antmaze-medium-play-v0", 1e-3, 2.0, True, "cql_antmaze", 1000, 2.0, 1),
    ("*antmaze-medium-diverse-v0", 3e-4, 3.0, True, "cql_antmaze", 1000, 1.0, 1),
    ("*antmaze-large-play-v0", 3e-4, 4.5, True, "cql_antmaze", 1000, 10.0, 2),
    ("*antmaze-large-diverse-v0", 3e-4, 3.5, True, "cql_antmaze", 1000, 7.0, 1),
    ("*pen-human-v1", 3e-5, 0.15, False, "normalize", 1000, 7.0, 2),
    ("*pen-cloned-v1", 3e-5, 0.1, False, "normalize", 1000, 8.0, 2),
    ("*kitchen-complete-v0", 3e-4, 0.005, False, "no", 250, 9.0, 2),
    ("*kitchen-partial-v0", 3e-4, 0.005, False, "no", 1000, 10.0, 2),
    ("*kitchen-mixed-v0", 3e-4, 0.005, False, "no", 1000, 10.0, 0),
)  # fmt: skip


def of_environment(env: str, table: tuple[Row, ...] = TABLE) -> dict[str, Any]:
    """Return what a table says of an environment; nothing for one that it does not name."""
    for pattern, lr, eta, max_q, reward, epochs, clip, rank in table:
        if fits(env, pattern):
            return {
                ROW: pattern,
                "actor_lr": lr, "eta": eta, "max_q_backup": max_q, "actor_clip": clip, "critic_clip": clip,
                "run.reward": reward, "run.steps": epochs * EPOCH, "run.select_rank": rank,
                "run.eval_episodes": 10 if pattern.endswith("-v2") else 100,
            }  # fmt: skip
    return {}


def first_match(env: str, table: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what the first pattern that fits an environment stands for; nothing where none does."""
    row = next(((pattern, own) for pattern, own in table.items() if fits(env, pattern)), None)
    return {ROW: row[0], **row[1]} if row and row[1] else {}
