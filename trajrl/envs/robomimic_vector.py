"""The vector that robomimic's data hold: numbers of hands and objects, side by side under robosuite's names.

    usual: robot0_eef_pos, robot0_eef_quat, robot0_gripper_qpos, the same of robot1, object

`object` is ordered and signed as robosuite 1.2 to 1.4 had it, `object-state` as the one installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trajrl.core.registry import unknown

HAND = ("eef_pos", "eef_quat", "gripper_qpos")  # of every robot, in the published order
OBJECT, OBJECT_STATE = "object", "object-state"


def usual_keys(robots: int) -> list[str]:
    """Return what the published vectors consist of."""
    return [*(f"robot{i}_{key}" for i in range(robots) for key in HAND), OBJECT]


def awake(raw: Any, keys: Sequence[str], task: str) -> list[str]:
    """Return the keys asked for, else the usual ones that there are; those that sleep are woken."""
    have = [*raw.observation_names, OBJECT, OBJECT_STATE]
    for key in keys:
        if key not in have:
            raise ValueError(unknown(f"observation of {task}", key, have))
        if key in raw.observation_names:
            raw.modify_observable(key, "active", True)
    return list(keys) or [key for key in usual_keys(len(raw.robots)) if key in have]  # arms without grippers


def object_keys(raw: Any) -> list[str]:
    """Return the names of the objects' numbers in robosuite's present order."""
    known = raw._observables.items()
    return [key for key, o in known if o.modality == "object" and o.is_enabled() and o.is_active()]


def vector(seen: Mapping[str, Any], keys: Sequence[str], of_objects: list[str]) -> np.ndarray:
    """Return the numbers of all keys, (obs,)."""
    parts = [objects(seen, of_objects) if key == OBJECT else np.ravel(seen[key]) for key in keys]
    return np.concatenate([np.empty(0), *parts]).astype(np.float32)


def objects(seen: Mapping[str, Any], keys: list[str]) -> np.ndarray:
    """Return the numbers of all objects, in the order and with the signs of the published data."""
    parts: list[np.ndarray] = []
    relative = [key for key in keys if "_to_robot0_eef_" in key]
    held = {key.split("_to_robot0_eef_")[0] for key in relative}
    for key in keys:
        owner = key.rpartition("_")[0]
        if key == "gripper_to_cube_pos":
            parts.append(seen["robot0_eef_pos"] - seen["cube_pos"])
        elif owner in held and key.endswith("_pos"):
            place = seen[f"{owner}_pos"], seen[f"{owner}_quat"]
            hand = seen["robot0_eef_pos"], seen["robot0_eef_quat"]
            parts += [*place, *from_hand(place, hand)]
        elif key not in relative and not (owner in held and key.endswith("_quat")):
            parts.append(np.atleast_1d(seen[key]))
    return np.concatenate(parts)


Pose = tuple[np.ndarray, np.ndarray]


def from_hand(pose: Pose, hand: Pose) -> Pose:
    """Return a pose as the hand sees it: inverse(hand) pose."""
    from robosuite.utils import transform_utils as turn

    inside = turn.pose_in_A_to_pose_in_B(turn.pose2mat(pose), turn.pose_inv(turn.pose2mat(hand)))
    return turn.mat2pose(inside)
