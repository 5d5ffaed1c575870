"""OGBench's environments as they are made here: by the package's ids, what they lack laid around them."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np

from trajrl.core.damage import first_line
from trajrl.core.extras import install
from trajrl.core.registry import unknown
from trajrl.core.rendering import NEEDED, choose_backend
from trajrl.envs.base.global_rng import SeededGlobals
from trajrl.envs.ogbench_names import VISUAL


def make_ogbench(environment: str, name: str, render: bool, **options: Any) -> gymnasium.Env:
    """Make an environment of the package by its own id."""
    require(environment, name)
    if render or environment.startswith(VISUAL):
        choose_backend(f"the images of {name}")
    warnings.filterwarnings("ignore", ".*precision lowered by casting")  # of its bounds, at every look
    with warnings.catch_warnings():  # of a missing display
        warnings.simplefilter("ignore")
        try:
            raw = gymnasium.make(environment, disable_env_checker=True, **options)
            env = Physics(SeededGlobals(FixedSpaces(raw)))
            if environment.startswith(VISUAL):
                env.reset(seed=0)  # draws the first frame, where it can
        except ValueError as error:  # MuJoCo's, about the package's own model
            raise ValueError(f"{name} cannot be made: {' '.join(str(error).split())}") from error
        except Exception as error:  # OpenGL's are of all kinds
            if not environment.startswith(VISUAL):
                raise
            said = f"{type(error).__name__}: {first_line(error)}"
            raise ValueError(f"{name} cannot render its images ({said}); they need {NEEDED}") from error
        return env


def require(environment: str, name: str) -> None:
    """Refuse an environment that the package has not; without the package its extra is named."""
    if find_spec("ogbench") is None:
        raise ValueError(f"{name} needs the extra 'ogbench': {install('ogbench')}")
    with warnings.catch_warnings():  # of a missing display
        warnings.simplefilter("ignore")
        import ogbench

    entries = gymnasium.registry.items()
    known = [known for known, entry in entries if str(entry.entry_point).startswith(ogbench.__name__)]
    if environment not in known:
        raise ValueError(f"{name}: {unknown('OGBench environment', environment, known)}")


class FixedSpaces(gymnasium.Wrapper):
    """Spaces computed once; the package makes new ones at every look."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.observation_space, self.action_space = env.observation_space, env.action_space


class StateAndGoal(gymnasium.Wrapper):
    """The goal's observation behind the state's own; reset(options={"task_id": 1 .. 5}) chooses the task."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        width = 2 * int(np.prod(env.observation_space.shape or ()))
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)

    def reset(self, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode, which has a goal of its own."""
        obs, info = self.env.reset(**options)
        self._goal = np.array(info["goal"], np.float32)
        return self._beside(obs), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._beside(obs), reward, terminated, truncated, info

    def _beside(self, obs: np.ndarray) -> np.ndarray:
        return np.concatenate([np.asarray(obs, np.float32), self._goal])


class Physics(gymnasium.Wrapper):
    """Let info hold qpos and qvel after a reset too, as it does after a step."""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        obs, info = self.env.reset(**options)
        raw: Any = self.env.unwrapped
        physics = raw.data if hasattr(raw, "data") else raw._data
        return obs, {**info, "qpos": physics.qpos.copy(), "qvel": physics.qvel.copy()}

    def close(self) -> None:
        """Free the simulation, and what draws it, while OpenGL is still there."""
        raw: Any = self.env.unwrapped
        for name in ("_renderer", "custom_renderer"):
            if getattr(raw, name, None) is not None:
                getattr(raw, name).close()
                setattr(raw, name, None)
        super().close()
