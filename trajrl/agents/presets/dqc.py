"""Settings of decoupled Q-chunking: the published sizes, and small ones for two cores.

The paper's tasks are goal-conditioned, with values in [0, 1] and cross entropy; here values are of any scale
and losses are squares.  Lengths and expectiles are the paper's.
"""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.acfql import SPARSE
from trajrl.agents.presets.task_names import fits
from trajrl.core.registry import unknown

PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"width": 128, "depth": 2},
    "paper": {
        "width": 1024, "depth": 4, "gamma": 0.999, "run.batch_size": 4096, "run.steps": 1_000_000,
        "run.eval_every": 100_000, "run.eval_episodes": 50, "run.sampler": "uniform",
    },
    "small": {"width": 256, "depth": 3, "run.sampler": "uniform"},
    "standard": {},
}  # fmt: skip


def preset(name: str, env: str) -> dict[str, Any]:
    """Return the settings of preset `name`; the sparse reward goes with the tasks that are run under it."""
    if name not in PRESETS:
        raise ValueError(unknown("preset of dqc", name, PRESETS))
    found = dict(PRESETS[name])
    if name in ("paper", "small") and any(fits(env, pattern) for pattern in SPARSE):
        found["run.env_options"] = {"sparse": True}
    return found
