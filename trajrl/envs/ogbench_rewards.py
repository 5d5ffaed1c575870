"""Which parts of an OGBench task are solved at each step of recorded physics."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from trajrl.envs.ogbench_names import VISUAL
from trajrl.store.store import TrajectoryStore

OBJECTS = 14  # where qpos of cubes, buttons, drawer and window begins, behind the arm's
TOLERANCE = 0.04  # metres within which an object is at its target
BALL = 15  # where qpos of antsoccer's ball begins
BLOCK_ROWS = 1 << 18  # rows relabelled at a time


def parts_of(raw: Any, environment: str, store: TrajectoryStore, needed: list[str]) -> np.ndarray:
    """Return which parts of the task that `raw` was made for are solved at each step of a store, (S, parts).

    Args:
        needed: columns of recorded physics
    """
    blocks = range(0, len(store.actions), BLOCK_ROWS)
    columns = [
        {
            name: np.asarray(store.extras[name].slice(first, min(first + BLOCK_ROWS, len(store.actions))))
            for name in needed
        }
        for first in blocks
    ]
    return np.concatenate([solved_parts(raw, environment, block) for block in columns])


def solved_parts(raw: Any, environment: str, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Compare recorded physics with the goal that `raw` was reset to: (S, parts)."""
    qpos = columns["qpos"]
    if re.search("maze|soccer", environment):
        first = BALL if "soccer" in environment else 0
        distance = np.linalg.norm(qpos[:, first : first + 2] - raw.cur_goal_xy, axis=1)
        return (distance <= raw._goal_tol)[:, None]
    buttons = columns["button_states"] == raw._target_button_states if "button_states" in columns else None
    if environment.removeprefix(VISUAL).startswith("puzzle"):
        assert buttons is not None
        return buttons
    cubes = raw._num_cubes
    places = qpos[:, OBJECTS : OBJECTS + 7 * cubes].reshape(len(qpos), cubes, 7)[..., :3]  # (S, cubes, 3)
    near = np.linalg.norm(places - raw._data.mocap_pos, axis=-1) <= TOLERANCE
    if buttons is None:
        return near
    slides = OBJECTS + 7 * cubes + raw._num_buttons  # drawer, then window
    target = np.array([raw._target_drawer_pos, raw._target_window_pos])
    return np.concatenate([near, buttons, np.abs(qpos[:, slides : slides + 2] - target) <= TOLERANCE], axis=1)
