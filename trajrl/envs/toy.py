"""toy:NAME: tiny environments in plain numpy, and the walks that made data in two of them.

    toy:point         a point with inertia is to rest at the origin; dense reward, ends by leaving the field
    toy:rooms         two rooms and a door, one of four goals in the far room; reward 1 there, nothing before
    toy:rooms-pixels  the same, seen from above as an image of 64 x 64 pixels and nothing else

The walker of toy:rooms finds the door and walks about behind it, whatever goal is asked for: it meets that
goal in one episode of six.  That of toy:rooms-pixels heads for the goal in four episodes of five.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from trajrl.core.registry import unknown
from trajrl.envs.base.protocol import Score
from trajrl.envs.base.reference_scores import normalised
from trajrl.envs.base.scripted import Demonstration, demonstrate
from trajrl.envs.base.suite import Suite
from trajrl.envs.base.wrappers import EnvOptions
from trajrl.store.episode import Episode
from trajrl.store.images import Seen


class ToySuite(Suite):
    """point, rooms or rooms-pixels, with the data of a walk where there is one."""

    prefix = "toy"

    def __init__(self, name: str, options: EnvOptions | None = None) -> None:
        if name not in TOYS:
            raise ValueError(unknown("toy environment", name, TOYS))
        self.kind, self.makes_data = name, name in WALKED
        super().__init__(name, options)

    @classmethod
    def data_name(cls, name: str) -> str:
        """Return where the data is made: in the environment itself, if it has some."""
        return f"{cls.prefix}:{name}" if name == "rooms" else ""

    def build(self, seed: int, render: bool) -> gymnasium.Env:
        """Return the environment with its time limit."""
        return gymnasium.wrappers.TimeLimit(TOYS[self.kind](), TOYS[self.kind].horizon)

    def episodes(self) -> Iterator[Episode]:
        """Yield 300 episodes of the walk; always the same ones."""
        shown = demonstration(self.kind)
        for number in range(300):
            yield demonstrate(shown, 0, number, "oracle")

    def score(self, episode_return: float) -> Score:
        """Put a return on a scale from 0, standing still, to 100, the best possible."""
        if self.kind in WALKED:
            return Score(100.0 * episode_return, f"toy:{self.kind} (100 = goal reached)")
        return Score(
            normalised(episode_return, -Point.horizon, 0.0), "toy:point (100 = always at the origin)"
        )


class Point(gymnasium.Env):
    """Accelerate a point; reward is minus its distance to the origin, 1 at most."""

    horizon = 30
    observation_space = Box(-np.inf, np.inf, (4,), np.float32)  # position, velocity
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict]:
        """Start at rest, at most 0.8 from the origin in each direction."""
        super().reset(seed=seed)
        self._position, self._velocity = self.np_random.uniform(-0.8, 0.8, 2), np.zeros(2)
        return self._see(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move; leaving the field [-1, 1] is the end, success is to be within 0.1 of the origin."""
        self._velocity = 0.8 * self._velocity + 0.1 * np.asarray(action, np.float64)
        self._position = self._position + self._velocity
        distance = float(np.linalg.norm(self._position))
        outside = bool((np.abs(self._position) > 1).any())
        return self._see(), -min(distance, 1.0), outside, False, {"success": distance < 0.1}

    def _see(self) -> np.ndarray:
        return np.concatenate([self._position, self._velocity]).astype(np.float32)


class Rooms(gymnasium.Env):
    """Walk from the left room through the door to the goal asked for; success ends the episode."""

    horizon = 50
    stride = 0.08  # the longest step in each direction
    door = 0.15  # half the width of the door in the wall at x = 0
    goals = ((0.8, 0.0), (0.8, 0.6), (0.8, -0.6), (0.45, 0.7))
    reach = 0.1  # how near is there
    observation_space = Box(-np.inf, np.inf, (4,), np.float32)  # position, goal
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict]:
        """Start in the far half of the left room, with one of the four goals."""
        super().reset(seed=seed)
        self._x, self._y = self.np_random.uniform((-0.95, -0.5), (-0.75, 0.5)).tolist()
        self._goal = self.goals[int(self.np_random.integers(4))]
        return self._see(), self._say(False)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move; a wall stops the part of the move that runs into it."""
        right, up = (self.stride * min(1.0, max(-1.0, float(part))) for part in action)
        y = min(1.0, max(-1.0, self._y + up))
        x = min(1.0, max(-1.0, self._x + right))
        if (x > 0) != (self._x > 0) and max(abs(y), abs(self._y)) > self.door:
            x = self._x
        self._x, self._y = x, y
        there = (x - self._goal[0]) ** 2 + (y - self._goal[1]) ** 2 < self.reach**2
        return self._see(), float(there), there, False, self._say(there)

    def _say(self, there: bool) -> dict[str, Any]:
        return {"success": there}

    def _see(self) -> np.ndarray:
        return np.array([self._x, self._y, *self._goal], np.float32)


class RoomsPixels(Rooms):
    """Rooms as an image: walls white, the goal green, the walker red, each blurred over its edge."""

    door, reach = 0.3, 0.2
    side = 64  # pixels
    pixel = 2.1 / side  # of the field, which is seen with a margin
    observation_space = Box(0, 255, (side, side, 3), np.uint8)  # type: ignore[arg-type]

    def _see(self) -> np.ndarray:
        frame = self._walls().copy()
        for channel, (x, y), radius in ((1, self._goal, self.reach), (0, (self._x, self._y), 0.07)):
            place, drawn = self._disc(x, y, radius)
            part = frame[place]
            part += drawn[..., None] * (255.0 * np.eye(3)[channel] - part)
        return frame.round().astype(np.uint8)

    def _say(self, there: bool) -> dict[str, Any]:
        return {"success": there, "place": np.array([self._x, self._y]), "goal": self._goal}

    @classmethod
    @cache
    def _walls(cls) -> np.ndarray:
        """Return the empty rooms (side, side, 3), 255 where a wall is."""
        middle = cls._middles()
        wall = (np.abs(middle) < cls.pixel) & (np.abs(middle[:, None]) > cls.door)
        return np.repeat(255.0 * wall[..., None], 3, axis=2)

    @classmethod
    @cache
    def _middles(cls) -> np.ndarray:
        """Return where the middles of the pixels lie, (side,), from left to right, and from the bottom up."""
        return (np.arange(cls.side) + 0.5) * cls.pixel - 1.05

    def _disc(self, x: float, y: float, radius: float) -> tuple[tuple[slice, slice], np.ndarray]:
        """Return a part of the image, and how much of each of its pixels a disc covers."""
        middle, reach = self._middles(), radius + self.pixel
        right = slice(*np.searchsorted(middle, (x - reach, x + reach)))
        down = slice(*np.searchsorted(middle, (-y - reach, -y + reach)))
        beyond = np.hypot(middle[right] - x, middle[down, None] + y) - radius
        return (down, right), np.clip(0.5 - beyond / self.pixel, 0, 1)

    def render(self) -> np.ndarray:
        """Return the image enlarged."""
        return self._see().repeat(4, axis=0).repeat(4, axis=1)


class Stroller:
    """Goes through the door, then from one random place of the far room to the next, noisily."""

    noise = 0.4  # raising it: wider walks
    places = (0.2, -0.8), (0.9, 0.8)  # corners of the field it walks in

    def begin(self, obs: np.ndarray, info: dict[str, Any], rng: np.random.Generator) -> None:
        """Start an episode; all randomness comes from `rng`."""
        self._rng = rng
        self._way: list[tuple[float, float]] = [(-0.1, 0.0), (0.1, 0.0)]
        self._pace = rng.uniform(0.6, 1.0)

    def act(self, obs: Seen, info: dict[str, Any]) -> np.ndarray:
        """Step towards the next point of the way."""
        place = obs[:2] if isinstance(obs, np.ndarray) else info["place"].astype(np.float32)
        if np.hypot(*(place - self._way[0])) < 0.08:
            self._way = self._way[1:] or [tuple(self._rng.uniform(*self.places))]
        ahead = (np.asarray(self._way[0]) - place) / Rooms.stride
        ahead = self._pace * ahead / max(1.0, float(np.abs(ahead).max()))
        return np.clip(ahead + self.noise * self._rng.standard_normal(2), -1, 1).astype(np.float32)


class Guide(Stroller):
    """Goes through the door and, in four episodes of five, to the goal; in the others it strolls."""

    share = 0.8

    def begin(self, obs: Any, info: dict[str, Any], rng: np.random.Generator) -> None:
        """Start an episode; all randomness comes from `rng`."""
        super().begin(obs, info, rng)
        if rng.random() < self.share:
            self._way.append(info["goal"])


def demonstration(name: str) -> Demonstration:
    """Return the scripted behaviour of toy:rooms and toy:rooms-pixels."""
    if name not in WALKED:
        raise ValueError(f"toy:{name} has no scripted oracle; {' and '.join(WALKED)} have one")
    return Demonstration(ToySuite(name).make(0), WALKED[name](), (), f"toy:{name}")


TOYS: dict[str, type[Point] | type[Rooms]] = {"point": Point, "rooms": Rooms, "rooms-pixels": RoomsPixels}
WALKED: dict[str, type[Stroller]] = {"rooms": Stroller, "rooms-pixels": Guide}  # who made the data
