"""OGBench's scripted oracles: play data of the manipulation environments and point mazes, made on the spot.

An episode has 1000 steps; when the script of one object is done, the environment picks a new target.  As
where the published sets were made, a puzzle's gripper stays closed, and an episode of a scene whose cube gets
out of sight is recorded again.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np

from trajrl.envs.base.global_rng import GlobalState
from trajrl.envs.base.scripted import Demonstration, always
from trajrl.envs.base.wrappers import EnvOptions, wrap
from trajrl.envs.ogbench_environment import make_ogbench
from trajrl.envs.ogbench_names import parse, recorded, single_task
from trajrl.envs.ogbench_rewards import OBJECTS
from trajrl.envs.ogbench_waypoints import AnyCell, WaypointScript

STEPS = 1000
MAZES = "pointmaze"
SCRIPTS = {"cube": ("cube",), "puzzle": ("button",), "scene": ("cube", "button", "drawer", "window")}
CLOSED = ("puzzle",)  # families whose gripper never opens
FAR_RIGHT, FAR_LEFT, DRAWER = (
    0.29,
    -0.3,
    (0.06, 0.08),
)  # metres: a cube beyond is out of sight but in the drawer
STACKING = {  # range of the probability, drawn per episode, that a cube is put on another
    "double": (0.0, 0.25),
    "octuple": (0.0, 0.35),
    "quadruple": (0.1, 0.5),
    "single": (0.0, 0.0),
    "triple": (0.05, 0.35),
}


def demonstration(name: str) -> Demonstration:
    """Return the environment and its script; a task's name stands for its environment."""
    task = parse(name)
    words = task.environment.split("-")
    if words[0] == MAZES:
        return in_maze(name if task.single_task else single_task(name))
    environment = "-".join(word for word in words if word != "singletask" and not word.startswith("task"))
    if words[0] not in SCRIPTS:
        known = ", ".join([*SCRIPTS, MAZES])
        raise ValueError(f"ogbench:{name} has no scripted oracle; the package has them for {known}")
    raw = make_ogbench(
        environment,
        f"ogbench:{name}",
        False,
        terminate_at_goal=False,
        mode="data_collection",
        max_episode_steps=STEPS,
    )
    env = wrap(raw, EnvOptions(), name)
    seen = cube_in_sight if words[0] == "scene" else always
    script = PlayScript(raw, words[0], words[1])
    return Demonstration(env, script, recorded(name), f"ogbench:{environment}", seen)


def in_maze(name: str) -> Demonstration:
    """Return the single task of a point maze, and the controller that walks about in it."""
    environment, named = parse(name).environment, f"ogbench:{name}"
    limits = {"terminate_at_goal": False, "max_episode_steps": STEPS}
    raw = AnyCell(make_ogbench(environment, named, False, **limits))
    kept = (*recorded(name), "terminal")
    return Demonstration(wrap(raw, EnvOptions(), named), WaypointScript(raw.unwrapped), kept, named)


class PlayScript:
    """Runs the package's oracle for whichever object is the target."""

    def __init__(self, env: gymnasium.Env, family: str, size: str) -> None:
        self._raw: Any = env.unwrapped
        closed = {"gripper_always_closed": True} if family in CLOSED else {}
        self._oracles = {name: make_oracle(name, env, **closed) for name in SCRIPTS[family]}
        self._stacking = STACKING.get(size, (0.5, 0.5))
        self._globals = GlobalState()

    def begin(self, obs: np.ndarray, info: dict[str, Any], rng: np.random.Generator) -> None:
        """Start with the environment's first target; `rng` settles the oracles' global draws."""
        self._globals.seed(int(rng.integers(2**31)))
        self._share = float(rng.uniform(*self._stacking))  # probability that a cube is put on another
        self._plan(obs, info)

    def act(self, obs: np.ndarray, info: dict[str, Any]) -> np.ndarray:
        """Follow the plan; when it is done, take the environment's next target."""
        if self._oracle.done:
            obs, info = self._raw.set_new_target(p_stack=self._share)
            self._plan(obs, info)
        with self._globals.lent():
            return np.clip(self._oracle.select_action(obs, info), -1, 1)

    def _plan(self, obs: np.ndarray, info: dict[str, Any]) -> None:
        self._oracle = self._oracles[info["privileged/target_task"]]
        with self._globals.lent():
            self._oracle.reset(obs, info)


def make_oracle(name: str, env: gymnasium.Env, **options: Any) -> Any:
    """Build the package's planning oracle for one kind of object."""
    module = import_module(f"ogbench.manipspace.oracles.plan.{name}_plan")
    return getattr(module, f"{name.title()}PlanOracle")(env=env, **options)


def cube_in_sight(extras: Mapping[str, np.ndarray]) -> bool:
    """Say whether an episode's cube was always where the camera sees it, or in the drawer."""
    _, y, z = extras["qpos"][:, OBJECTS : OBJECTS + 3].T  # (T,) each
    in_drawer = (z >= DRAWER[0]) & (z <= DRAWER[1])
    return not bool((y >= FAR_RIGHT).any() or ((y <= FAR_LEFT) & ~in_drawer).any())
