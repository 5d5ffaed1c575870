"""robomimic:NAME: robosuite's own environments, seen as robomimic's published data sees them.

observation    robot0_eef_pos, robot0_eef_quat, robot0_gripper_qpos, the same of robot1, object
object         for each object its place, its attitude and both relative to the hand, as robosuite 1.2 had it
KEY            data with other keys are seen by theirs: robosuite's names, and CAMERA_image for images
action         delta of the hand's pose in the world's frame and the gripper, 20 a second
reward         1 where the task is solved, else 0; learning sees it less 1; solving ends the episode

robosuite 1.5 orders the objects' numbers otherwise, computes relative poses one step late, turned the sign of
Lift's gripper_to_cube_pos and reads actions in the robot's frame; the data of 1.2 to 1.4 does not.  A file
that names version 1.5 or a later one has `object` as that has it.

Paper: Mandlekar et al. 2021 (robomimic).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from trajrl.core.registry import unknown
from trajrl.core.rendering import choose_backend
from trajrl.envs.base.global_rng import SeededGlobals
from trajrl.envs.base.protocol import Score
from trajrl.envs.base.suite import Suite
from trajrl.envs.robomimic_arguments import OWN, recorded_arguments
from trajrl.envs.robomimic_cameras import Camera, cameras_of, require_cameras
from trajrl.envs.robomimic_vector import awake, object_keys, vector
from trajrl.store.images import STATE, Seen

HORIZONS = {  # steps of an episode: ColinQiyangLi/qc:envs/robomimic_utils.py, _get_max_episode_length
    "Lift": 300, "NutAssemblySquare": 400, "PickPlaceCan": 300, "ToolHang": 1000, "TwoArmTransport": 800,
}  # fmt: skip
ARM = {
    "type": "OSC_POSE", "input_max": 1, "input_min": -1, "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
    "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5], "kp": 150, "damping_ratio": 1,
    "impedance_mode": "fixed", "kp_limits": [0, 300], "damping_ratio_limits": [0, 10],
    "position_limits": None, "orientation_limits": None, "uncouple_pos_ori": True, "input_type": "delta",
    "input_ref_frame": "world", "interpolation": None, "ramp_ratio": 0.2,
}  # fmt: skip
FIXED = {  # whatever a file says
    "has_renderer": False, "use_camera_obs": False, "use_object_obs": True, "ignore_done": True,
    "lite_physics": False, "renderer": "mujoco",
}  # fmt: skip
DROPPED = ("camera_depths", "camera_heights", "camera_names", "camera_widths", "render_gpu_device_id", *OWN)


class RobomimicSuite(Suite):
    """One of robosuite's tasks, such as robomimic:Lift or robomimic:PickPlaceCan."""

    prefix = "robomimic"
    takes_arguments = True

    def __init__(self, name: str, options: Any = None) -> None:
        self.task = name
        super().__init__(name, options)

    @classmethod
    def published(cls, name: str) -> dict[str, Any]:
        """Return the published horizon, and the shift that makes every unsolved step cost 1."""
        return {"time_limit": HORIZONS.get(name, 400), "reward_shift": -1.0}

    @classmethod
    def knows(cls, name: str) -> bool:
        """Return whether it is one of the published tasks."""
        return name in HORIZONS

    @classmethod
    def recorded_with(cls, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that a file recorded in `env_args`; none where it was stripped of them."""
        found = recorded_arguments(attributes.get("provenance"))
        return {"arguments": found} if found else {}

    def build(self, seed: int, render: bool) -> gymnasium.Env:
        """Make robosuite's environment."""
        arguments = self.options.arguments
        shown = [key for key in self.options.obs_keys if key != STATE]
        cameras = cameras_of(shown, arguments, self.name)
        raw = make_task(self.task, arguments, bool(render or cameras))
        require_cameras(cameras, raw.sim, self.name)
        keys = awake(raw, arguments.get("state_keys") or (), self.name)
        return SeededGlobals(Task(raw, keys, cameras))

    def score(self, episode_return: float) -> Score:
        """Robomimic reports success and no score."""
        return Score(None, "none")


def make_task(name: str, arguments: Mapping[str, Any], render: bool) -> Any:
    """Make a task of robosuite with a file's arguments, else with those the published data was made with."""
    if find_spec("robosuite") is None:
        raise ValueError(f"robomimic:{name} needs robosuite, which no extra can express: make robomimic")
    quiet = logging.getLogger("robosuite_logs")  # it logs every file it reads
    quiet.addFilter(lambda record: record.levelno >= logging.ERROR)
    if render:
        choose_backend(f"the images of robomimic:{name}")
    import robosuite

    if name not in robosuite.ALL_ENVIRONMENTS:
        raise ValueError(unknown("robosuite task", name, robosuite.ALL_ENVIRONMENTS))
    given = {key: value for key, value in deepcopy(dict(arguments)).items() if key not in DROPPED}
    robots = given.pop("robots", ["Panda"] * (2 if name.startswith("TwoArm") else 1))
    robots = [robots] if isinstance(robots, str) else robots
    control = given.pop("controller_configs", ARM)
    chosen = {"control_freq": 20, "reward_shaping": False, **given, **FIXED, "robots": robots}
    chosen["has_offscreen_renderer"] = render
    try:
        chosen["controller_configs"] = [controller(control, robot) for robot in robots]
        return robosuite.make(name, **chosen)
    except Exception as error:  # robosuite raises all kinds for an argument that it does not know
        reason, under = f"{type(error).__name__}: {error}", f" with the arguments {', '.join(arguments)}"
        raise ValueError(f"robomimic:{name} cannot be made{under if arguments else ''}: {reason}") from error


def controller(found: Any, robot: str) -> Any:
    """Bring a controller's settings from before robosuite 1.5 to its present names."""
    from robosuite.controllers.composite import composite_controller_factory as factory

    settings = found[0] if isinstance(found, list) else found
    if not factory.is_part_controller_config(settings):
        return settings
    arm = {("damping_ratio" + key[7:] if key in ("damping", "damping_limits") else key): value
           for key, value in settings.items()}  # fmt: skip
    delta = bool(arm.pop("control_delta", True))
    arm = {"input_type": "delta" if delta else "absolute", "input_ref_frame": "world", **arm}
    arm = {**ARM, **arm} if arm["type"] == ARM["type"] else arm  # an old file may leave out what was usual
    return factory.refactor_composite_controller_config(arm, robot, ["right"])


class Task(gymnasium.Env):
    """A task of robosuite under Gymnasium's interface; solving it ends the episode.

    Everything is seen at one moment, that of the state which a step leads to, as robomimic writes its data.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, raw: Any, keys: Sequence[str], cameras: Mapping[str, Camera]) -> None:
        self.raw, self.keys, self.cameras = raw, keys, cameras
        low, high = raw.action_spec
        self.action_space = Box(low.astype(np.float32), high.astype(np.float32))
        width = len(vector(raw._get_observations(force_update=True), keys, object_keys(raw)))
        numbers = Box(-np.inf, np.inf, (width,), np.float32)
        shown = {key: Box(0, 255, (*one.shown, 3), np.uint8) for key, one in cameras.items()}
        self.observation_space = gymnasium.spaces.Dict({STATE: numbers, **shown}) if shown else numbers

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Seen, dict[str, Any]]:
        """Start an episode; `seed` settles where everything is put."""
        super().reset(seed=seed)
        if seed is not None:
            self.raw.rng.bit_generator.state = np.random.PCG64(seed).state  # others hold it too
        self.raw.reset()
        return self._see(), {"success": False}

    def step(self, action: np.ndarray) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """Take one step of a twentieth of a second."""
        _, reward, _, _ = self.raw.step(action)
        solved = bool(self.raw._check_success())
        return self._see(), float(reward), solved, False, {"success": solved}

    def render(self) -> np.ndarray:
        """Return a frame of the camera in front of the arm."""
        return self.raw.sim.render(height=256, width=256, camera_name="agentview")[::-1]

    def close(self) -> None:
        """Free the simulation."""
        self.raw.close()

    def _see(self) -> Seen:
        self.raw.sim.forward()  # a step leaves places as they were before its last part
        seen = self.raw._get_observations(force_update=True)  # else those of when the step began
        numbers = vector(seen, self.keys, object_keys(self.raw))
        if not self.cameras:
            return numbers
        return {STATE: numbers, **{key: one.image(self.raw.sim) for key, one in self.cameras.items()}}
