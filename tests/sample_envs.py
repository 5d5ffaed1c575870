"""Tiny environments that describe themselves, and ones that trajrl must refuse or survive."""

from __future__ import annotations

import os
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete


class Line(gymnasium.Env):
    """Observation (step, reset seed mod 97), reward 1; ends by itself at `length`, success at step 2."""

    def __init__(self, length: int = 5, low: float = -2.0, high: float = 4.0) -> None:
        self.length = length
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = Box(low, high, (1,), np.float32)
        self.taken: list[float] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.step_count, self.start, self.taken = 0, float((seed or 0) % 97), []
        return self.see(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.step_count += 1
        self.taken.append(float(action[0]))
        info = {"is_success": self.step_count == 2, "mark": np.array([self.step_count])}
        return self.see(), 1.0, self.step_count == self.length, False, info

    def see(self) -> np.ndarray:
        return np.array([self.step_count, self.start], np.float64)

    def render(self) -> np.ndarray:
        return np.full((32, 48, 3), 10 * self.step_count, np.uint8)


class Uneven(Line):
    """Line whose length, 3 to 12, follows from the reset seed."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict]:
        self.length = 3 + (seed or 0) % 10
        return super().reset(seed=seed, options=options)


class Breaking(Uneven):
    """Raises at step 2 of an episode whose seed is a multiple of 3; gives NaN where it is one above."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        obs, reward, terminated, truncated, info = super().step(action)
        if self.step_count == 2 and self.start % 3 == 0:
            raise RuntimeError("the arm is stuck")
        return (
            obs,
            float("nan") if self.step_count == 2 and self.start % 3 == 1 else reward,
            terminated,
            truncated,
            info,
        )


class Stuck(Line):
    """Raises at the first step of every episode."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        raise RuntimeError("the arm is stuck")


class Forgetful(Uneven):
    """Not a function of its seed: every reset makes the episode shorter."""

    resets = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict]:
        found = super().reset(seed=seed, options=options)
        Forgetful.resets += 1
        self.length = 3 if Forgetful.resets > 8 else 50
        return found


class Leaving(Line):
    """Leaves the process at the second step of every episode."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        if self.step_count == 1:
            raise SystemExit(3)
        return super().step(action)


def line(seed: int = 0, render_mode: str | None = None) -> gymnasium.Env:
    """Return a Line; takes what trajrl offers."""
    return Line()


def limited() -> gymnasium.Env:
    """Return a Line that a time limit cuts at step 3."""
    return gymnasium.wrappers.TimeLimit(Line(), 3)


def uneven() -> gymnasium.Env:
    return Uneven()


def breaking() -> gymnasium.Env:
    return Breaking()


def stuck() -> gymnasium.Env:
    return Stuck()


def leaving() -> gymnasium.Env:
    return Leaving()


def forgetful() -> gymnasium.Env:
    return Forgetful()


def no_env() -> int:
    return 3


def no_space() -> gymnasium.Env:
    return gymnasium.Env()


def fails() -> gymnasium.Env:
    raise KeyError("the arm is elsewhere")


def with_spaces(observation: gymnasium.Space, action: gymnasium.Space) -> gymnasium.Env:
    env = Line()
    env.observation_space, env.action_space = observation, action
    return env


def dict_obs() -> gymnasium.Env:
    return with_spaces(
        Dict({"desired_goal": Box(-1, 1, (2,)), "observation": Box(-1, 1, (4,))}), Box(-1, 1, (1,))
    )


def image_obs() -> gymnasium.Env:
    return with_spaces(Box(0, 255, (8, 8, 3), np.float32), Box(-1, 1, (1,)))


def discrete_obs() -> gymnasium.Env:
    return with_spaces(Discrete(5), Box(-1, 1, (1,)))


def discrete_action() -> gymnasium.Env:
    return with_spaces(Box(-1, 1, (2,)), Discrete(2))


def unbounded_action() -> gymnasium.Env:
    return with_spaces(Box(-1, 1, (2,)), Box(-np.inf, np.inf, (1,)))


class Hanging(Uneven):
    """Stops answering at step 2 of an episode whose seed is a multiple of 3; dies where it is one above."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        if self.step_count == 1 and self.start % 3 == 0:
            time.sleep(60)
        if self.step_count == 1 and self.start % 3 == 1:
            os._exit(7)
        return super().step(action)


class Once(Uneven):
    """Breaks at step 3 of every episode, and can be built twice only."""

    built = 0

    def __init__(self) -> None:
        Once.built += 1
        if Once.built > 2:
            raise OSError("no licence is left")
        super().__init__()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        if self.step_count == 2:
            raise RuntimeError("the arm is stuck")
        return super().step(action)


def once() -> gymnasium.Env:
    return Once()


def misdeclared() -> gymnasium.Env:
    """Return an environment whose observations are narrower than it says."""
    return with_spaces(Box(-1, 1, (4,)), Box(-1, 1, (2,)))


def hanging() -> gymnasium.Env:
    return Hanging()


def breaking_later() -> gymnasium.Env:
    """Return an environment that works at first."""
    return BreakingLater()


class BreakingLater(Uneven):
    """Raises at step 2 of every episode after the twelfth; an evaluation at the start sees none of those."""

    episodes = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict]:
        BreakingLater.episodes += 1
        return super().reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        if BreakingLater.episodes > 12 and self.step_count == 1:
            raise RuntimeError("the arm is stuck")
        return super().step(action)


def sized(length: int = 5) -> gymnasium.Env:
    """Return a Line of a length of one's own."""
    return Line(length)


def open_ended(**arguments: Any) -> gymnasium.Env:
    """Return a Line made from whatever arguments come."""
    return Line(**arguments)


class Pushed(Line):
    """Line whose reward is the action taken."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        obs, _, terminated, truncated, info = super().step(action)
        return obs, float(action[0]), terminated, truncated, info


def pushed() -> gymnasium.Env:
    """Return a Pushed with the usual box."""
    return Pushed(low=-1, high=1)


class Endless(Line):
    """Never ends, though it says that it ends after 10 steps."""

    def __init__(self) -> None:
        super().__init__(length=10**9)
        self.spec = gymnasium.envs.registration.EnvSpec("Endless-v0", max_episode_steps=10)


def boundless() -> gymnasium.Env:
    return Line(length=10**9)


def endless() -> gymnasium.Env:
    return Endless()


class Faulty(Line):
    """Ends its process by a signal at step 2 of an episode with an even seed."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        if self.step_count == 1 and self.start % 2 == 0:
            os.kill(os.getpid(), 11)
        return super().step(action)


def faulty() -> gymnasium.Env:
    return Faulty()


def fatal() -> gymnasium.Env:
    """End the process where an environment is due."""
    os._exit(9)


def wandering() -> gymnasium.Env:
    """Change the working folder, as some simulators do to find their files."""
    os.chdir("/")
    return Line()


class Robot(gymnasium.Env):
    """Two joints that turn by a tenth of the action, whose box is +-2; RECEIVED keeps every action."""

    received: list[np.ndarray] = []

    def __init__(self, bound: float = 2.0) -> None:
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = Box(-bound, bound, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.joints, self.step_count = np.zeros(2, np.float32), 0
        return self.joints.copy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        Robot.received.append(np.array(action, np.float32))
        self.joints, self.step_count = self.joints + 0.1 * np.asarray(action, np.float32), self.step_count + 1
        return self.joints.copy(), 0.0, False, self.step_count == 8, {}


def robot(bound: float = 2.0) -> gymnasium.Env:
    return Robot(bound)
