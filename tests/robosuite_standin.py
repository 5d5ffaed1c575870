"""A stand-in for a task of robosuite: the calls that trajrl makes of one, where it is not installed.

What the real one does and a test would miss is here too: frames come with their lowest row first, places lag
behind until `forward`, observations lag behind unless they are forced, and some sleep until they are woken.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

CAMERAS = ("frontview", "agentview", "robot0_eye_in_hand")
WIDTHS = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2, "robot0_joint_pos": 7,
          "cube_pos": 3}  # fmt: skip
ASLEEP = ("robot0_joint_pos",)
LENGTH = 6  # steps until the task is solved


class Simulation:
    """Frames whose pixels tell the time, the camera, the row from below and the column."""

    def __init__(self) -> None:
        self.time, self.place = 0, -1  # of the state, and of what is drawn of it
        self.model = SimpleNamespace(camera_names=CAMERAS)

    def forward(self) -> None:
        self.place = self.time

    def render(self, height: int, width: int, camera_name: str) -> np.ndarray:
        row, column = np.indices((height, width))
        told = 20 * self.place + 7 * CAMERAS.index(camera_name)
        return np.stack([3 * row, 5 * column, np.full_like(row, told)], -1).astype(np.uint8)


class Standin:
    """One arm; it is solved after so many steps, whatever is done."""

    def __init__(self) -> None:
        self.sim, self.rng, self.robots = Simulation(), np.random.default_rng(0), [None]
        self.action_spec = -np.ones(7), np.ones(7)
        self._observables = {
            name: SimpleNamespace(
                modality="object" if name.startswith("cube") else "robot0_proprio", active=name not in ASLEEP
            ) for name in WIDTHS
        }  # fmt: skip
        for one in self._observables.values():
            one.is_enabled, one.is_active = lambda: True, lambda one=one: one.active
        self._late = -1

    @property
    def observation_names(self) -> set[str]:
        return set(WIDTHS)

    def modify_observable(self, name: str, attribute: str, modifier: Any) -> None:
        setattr(self._observables[name], attribute, modifier)

    def reset(self) -> dict[str, np.ndarray]:
        self.sim.time, self._late = 0, 0
        self.sim.forward()
        return self._get_observations()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, dict[str, Any]]:
        self._late = self.sim.time
        self.sim.time += 1
        return self._get_observations(), self.reward(), False, {}

    def reward(self) -> float:
        return float(self._check_success())

    def _check_success(self) -> bool:
        return self.sim.time >= LENGTH

    def _get_observations(self, force_update: bool = False) -> dict[str, np.ndarray]:
        self._late = self.sim.place if force_update else self._late
        found = {
            name: np.full(width, self._late + number / 10)
            for number, (name, width) in enumerate(WIDTHS.items())
            if self._observables[name].active
        }
        return {**found, "object-state": np.concatenate([found["cube_pos"], -found["cube_pos"]])}

    def close(self) -> None:
        pass


def demonstration(height: int, width: int) -> dict[str, np.ndarray]:
    """Return the observations (T+1, ...) of an episode as robomimic writes them: forced, frames turned."""
    task = Standin()
    task.reset()
    task.modify_observable("robot0_joint_pos", "active", True)
    rows = []
    for time in range(LENGTH + 1):
        task.sim.time = time
        task.sim.forward()
        seen = task._get_observations(force_update=True)
        seen["object"] = seen.pop("object-state")
        for camera in CAMERAS[1:]:
            seen[f"{camera}_image"] = task.sim.render(height, width, camera)[::-1]
        rows.append(seen)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
