"""The original D4RL environments (d4rl, gym 0.23, mujoco-py on MuJoCo 2.1), where `make legacy` put them.

Here, and nowhere else, the old interface becomes the new one:  done -> terminated, unless the time limit says
it cut the episode (info["TimeLimit.truncated"]);  seed(s), reset() -> reset(seed=s);  four results -> five.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from trajrl.core.versions import versions
from trajrl.envs.base.global_rng import GlobalState, SeededGlobals

MODULES = {  # which of d4rl's modules registers a family; it registers none of these by itself
    "ant": "d4rl.gym_mujoco", "antmaze": "d4rl.locomotion", "halfcheetah": "d4rl.gym_mujoco",
    "hopper": "d4rl.gym_mujoco", "maze2d": "d4rl.pointmaze", "walker2d": "d4rl.gym_mujoco",
}  # fmt: skip
NEEDS_MJRL = ("door", "hammer", "kitchen", "pen", "relocate")
NEEDED = ("d4rl", "gym", "mujoco_py")


def home() -> Path:
    """Return the folder of MuJoCo 2.1: what $MUJOCO_PY_MUJOCO_PATH says, else what make legacy made."""
    return Path(os.environ.get("MUJOCO_PY_MUJOCO_PATH") or Path(sys.prefix) / "mujoco210")


def installed() -> bool:
    """Return whether the original stack is here; nothing of it is imported."""
    return home().exists() and all(find_spec(name) is not None for name in NEEDED)


def stack() -> str:
    """Name the original stack and its versions."""
    found = versions(("d4rl", "gym", "mujoco-py"))
    return f"d4rl {found['d4rl']} (gym {found['gym']}, mujoco-py {found['mujoco-py']}, MuJoCo 2.1.0)"


def make_original(name: str, family: str, seed: int) -> gymnasium.Env:
    """Make one of D4RL's environments; those of antmaze draw their goal from numpy's global generator."""
    register(family)
    import gym

    with quiet(), GlobalState(seed).lent():
        env = Classic(gym.make(name), sparse=family == "antmaze")
    return SeededGlobals(env) if family == "antmaze" else env


@cache
def register(family: str) -> None:
    """Import what registers a family; d4rl imports none of them by itself."""
    with variables(), quiet():
        try:
            __import__(MODULES[family])
        except Exception as error:  # gym and mujoco-py raise bare ones
            said = " ".join(str(error).split())[:200]
            raise ValueError(f"the original D4RL stack does not load ({said}); make legacy again") from error


@contextmanager
def variables() -> Iterator[None]:
    """Set what mujoco-py asks for as it is imported; gymnasium-robotics imports it too, where it is there."""
    if not home().exists():
        yield
        return
    paths = ":".join(filter(None, [os.environ.get("LD_LIBRARY_PATH", ""), str(home() / "bin")]))
    wanted = {"MUJOCO_PY_MUJOCO_PATH": str(home()), "LD_LIBRARY_PATH": paths}
    with patch.dict(os.environ, {**wanted, "D4RL_SUPPRESS_IMPORT_ERROR": "1"}):
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself what the old packages print and warn of: their age, and where every goal lies."""
    level = logging.getLogger().level
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.getLogger().setLevel(level)


class Classic(gymnasium.Env):
    """An environment of classic gym under Gymnasium's interface."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, env: Any, sparse: bool = False) -> None:
        """Wrap `env`; where rewards are sparse, one above 0 is success."""
        self.env, self.sparse = env, sparse
        self.observation_space = box(env.observation_space)
        self.action_space = box(env.action_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; the seed reaches every layer, for a proxy of d4rl keeps it from those below."""
        with quiet():
            if seed is not None:
                for layer in layers(self.env):
                    layer.seed(seed)
            obs = self.env.reset()
        if isinstance(obs, tuple):
            raise ValueError("its reset returned a tuple: gym from 0.26 on is not classic; use gymnasium")
        return np.asarray(obs), {"success": False} if self.sparse else {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one step."""
        obs, reward, done, given = self.env.step(np.asarray(action))
        truncated = bool(given.get("TimeLimit.truncated", False))
        info = {**given, "success": float(reward) > 0} if self.sparse else dict(given)
        return np.asarray(obs), float(reward), bool(done) and not truncated, truncated, info

    def render(self) -> np.ndarray:
        """Return a frame."""
        with quiet():
            return np.ascontiguousarray(self.env.render(mode="rgb_array"))

    def close(self) -> None:
        """Close it."""
        self.env.close()


def is_classic(env: object) -> bool:
    """Return whether an object is an environment of classic gym, from before its step had five results."""
    gym = sys.modules.get("gym")  # not imported: no environment of it
    return gym is not None and isinstance(env, gym.Env) and hasattr(env, "seed")


def layers(env: Any) -> Iterator[Any]:
    """Yield an environment and everything wrapped inside it, from the outside in."""
    while env is not None:
        yield env
        inside = vars(env)
        env = inside.get("env", inside.get("_wrapped_env"))


def box(space: Any) -> Box:
    """Return Gymnasium's word for a box of classic gym."""
    return Box(np.asarray(space.low, np.float32), np.asarray(space.high, np.float32))
