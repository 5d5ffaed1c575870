"""Published settings of RLPD, with its table of tasks, and of its chunked form (QC-RLPD, RLPD-AC)."""

from __future__ import annotations

from typing import Any

from trajrl.agents.presets.task_names import ROW, fits
from trajrl.core.registry import unknown

CHUNKED: dict[str, Any] = {
    "utd": 1, "chunk": 5, "width": 512, "depth": 4, "target": "mean", "target_entropy": False, "joint": True,
    "partial_chunks": "drop",
}  # fmt: skip
SPARSE: dict[str, Any] = {"target_entropy": False, "depth": 3}
MAZE: dict[str, Any] = {**SPARSE, "subset": 1, "run.reward": "iql_antmaze"}
ONLINE: dict[str, Any] = {  # halves in every batch
    "run.offline_mode": "mix", "run.offline_fraction": 0.5, "run.begin_with": "random",
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "demo": {**ONLINE, "utd": 2},
    "paper": ONLINE,
    "qc_rlpd": {**ONLINE, **CHUNKED, "bc_alpha": 0.01},
    "rlpd_ac": {**ONLINE, **CHUNKED},
    "standard": ONLINE,
}
TASKS: tuple[tuple[str, dict[str, Any]], ...] = (  # what `paper` changes by environment
    ("*antmaze-umaze*", MAZE),
    ("*antmaze-*-play-*", MAZE),
    ("*antmaze-*-diverse-*", MAZE),
    ("*pen-binary-*", SPARSE),
    ("*door-binary-*", SPARSE),
    ("*relocate-binary-*", SPARSE),
)


def preset(name: str, env: str) -> dict[str, Any]:
    """Return the settings of preset `name`; `paper` adds what was published for the environment."""
    if name not in PRESETS:
        raise ValueError(unknown("preset of rlpd", name, PRESETS))
    found = dict(PRESETS[name])
    for pattern, changes in TASKS if name == "paper" else ():
        if fits(env, pattern):
            found |= {**changes, ROW: pattern}
    return found
