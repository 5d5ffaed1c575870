"""Any registered Gymnasium id: MuJoCo v4 and v5, continuous classic control, gymnasium-robotics."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import gymnasium

from trajrl.core.extras import install
from trajrl.core.registry import unknown
from trajrl.envs.base.suite import Suite
from trajrl.envs.base.wrappers import GOAL_KEYS, SideBySide
from trajrl.envs.d4rl_original import quiet, variables

ROBOTICS = ("AdroitHand", "AntMaze", "Fetch", "FrankaKitchen", "Hand", "PointMaze")  # of gymnasium-robotics


class GymnasiumSuite(Suite):
    """A registered environment under its own id and version."""

    takes_arguments = True

    def build(self, seed: int, render: bool) -> gymnasium.Env:
        """Make the environment; what is missing is named."""
        if self.name not in registered(self.name):
            raise ValueError(unknown("environment", self.name, registered(self.name)))
        return make_registered(self.name, render, self.options.arguments)


def registered(name: str) -> list[str]:
    """Return the ids of every environment that can be made; robotics ones are registered when asked for."""
    if name.startswith(ROBOTICS) and name not in gymnasium.registry:
        if find_spec("gymnasium_robotics") is None:
            raise ValueError(f"{name} needs the extra 'robotics': {install('robotics')}")
        with variables(), quiet():
            import gymnasium_robotics

            gymnasium.register_envs(gymnasium_robotics)
    return list(gymnasium.registry)


def make_registered(name: str, render: bool, arguments: Mapping[str, Any] | None = None) -> gymnasium.Env:
    """Make an id; versions that moved out of Gymnasium fail with its own words in one line."""
    options: dict[str, Any] = {**(arguments or {}), **({"render_mode": "rgb_array"} if render else {})}
    try:
        with warnings.catch_warnings(), variables():
            warnings.simplefilter("ignore", DeprecationWarning)  # an older version is asked for on purpose
            return side_by_side(completing(gymnasium.make(name, disable_env_checker=True, **options)))
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        raise ValueError(f"{name} cannot be made: {' '.join(str(error).split())}") from error


class Completions(gymnasium.Wrapper):
    """Says success where an environment of several tasks, as FrankaKitchen, tells which are completed."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step; success is that every task of the goal has been completed."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        done = set(info.get("episode_task_completions", ()))
        goal: Any = self.env.get_wrapper_attr("goal")
        return obs, reward, terminated, truncated, {**info, "success": set(goal) <= done}


def completing(env: gymnasium.Env) -> gymnasium.Env:
    """Let an environment whose goal is a dictionary of tasks say success."""
    return Completions(env) if isinstance(getattr(env.unwrapped, "goal", None), dict) else env


def side_by_side(env: gymnasium.Env) -> gymnasium.Env:
    """Lay the parts of a goal environment's observation side by side; goals that are nested are left out."""
    space = env.observation_space
    if not isinstance(space, gymnasium.spaces.Dict) or set(space.spaces) != set(GOAL_KEYS):
        return env
    flat = all(isinstance(part, gymnasium.spaces.Box) for part in space.spaces.values())
    return SideBySide(env, GOAL_KEYS if flat else GOAL_KEYS[:1])
