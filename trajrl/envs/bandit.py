"""Bandits `bandit:NAME`: one step, an observation of zeros, an action in the plane, its energy as reward.

A point x of the set is the action x / box.  An action's energy is that of the nearest mode where the set has
distinct ones, else of the nearest data point.  With these, a policy's density has a known goal:
p(a) ~ p_data(a) exp(beta e(a)).

Paper: Lu et al. 2023 (CEP).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from trajrl.core.console import say
from trajrl.core.registry import unknown
from trajrl.core.rng import stream
from trajrl.envs.bandit_sets import BANDITS, BanditSet, Points
from trajrl.envs.base.protocol import Score
from trajrl.envs.base.suite import Suite
from trajrl.envs.base.wrappers import EnvOptions
from trajrl.store.episode import Episode

NUM_POINTS = 100_000  # of the data
NUM_SHAPE = 20_000  # points that stand for the bare shape


class BanditSuite(Suite):
    """A bandit with its data."""

    prefix = "bandit"
    makes_data = True

    def __init__(self, name: str, options: EnvOptions | None = None) -> None:
        self.kind, self.bandit = name, find_bandit(name)
        super().__init__(name, options)

    def build(self, seed: int, render: bool) -> gymnasium.Env:
        """Return the one-step environment."""
        return OneStep(self.kind)

    def episodes(self) -> Iterator[Episode]:
        """Yield one episode of one step per point of the data; always the same ones."""
        points = data(self.kind)
        actions = points.x / self.bandit.box  # (n, 2)
        outside = int((np.abs(actions) > 1).any(1).sum())
        if outside:
            say(f"{self.name}: {outside} of {len(actions)} points lie outside the box and move to its edge")
        noise = stream(0, f"bandit/{self.kind}/reward").standard_normal(len(actions))
        rewards = points.energy + self.bandit.reward_noise * noise  # (n,)
        nowhere = np.zeros((2, 2), np.float32)
        for action, reward in zip(actions.clip(-1, 1), rewards):
            yield Episode(nowhere, action[None], np.array([reward]), True, None, "bandit")

    def score(self, episode_return: float) -> Score:
        """Put a return on a scale from 0 to 100, the highest energy."""
        if not self.bandit.top:
            return Score(None, "none")
        return Score(100 * episode_return / self.bandit.top, f"{self.name} (100 = highest energy)")


class OneStep(gymnasium.Env):
    """One action, its energy, the end."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(self, kind: str) -> None:
        self.kind = kind
        box = find_bandit(kind).box
        self.action_space = Box(-box, box, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start: there is nothing to see."""
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Return the energy of the action."""
        reward = float(judge(self.kind, np.asarray(action)[None])[0][0])
        return np.zeros(2, np.float32), reward, True, False, {}


def find_bandit(name: str) -> BanditSet:
    """Return the set called `name`."""
    if name not in BANDITS:
        raise ValueError(unknown("bandit", name, BANDITS))
    return BANDITS[name]


@cache
def data(name: str) -> Points:
    """Return the points of the data; always the same ones."""
    return find_bandit(name).draw(stream(0, f"bandit/{name}"), NUM_POINTS, 1.0)


@cache
def shape(name: str) -> Points:
    """Return the set without its noise."""
    bare = find_bandit(name).draw(stream(0, f"bandit/{name}/shape"), NUM_SHAPE, 0.0)
    _, first = np.unique(bare.x, axis=0, return_index=True)
    return Points(*(column[first] for column in bare))


def judge(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return energy (m,) and mode (m,) of points (m, 2)."""
    reference = shape(name) if find_bandit(name).distinct else data(name)
    found = nearest(reference.x, x)[0]
    return reference.energy[found], reference.mode[found]


def off_mode(name: str, x: np.ndarray) -> np.ndarray:
    """Return which points (m, 2) lie further than three standard deviations from every mode."""
    return nearest(shape(name).x, x)[1] > find_bandit(name).spread


def nearest(points: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of the point (n, 2) nearest to each x (m, 2), and its distance."""
    if len(x) == 1:
        squares = np.square(points - x).sum(1)
        return squares.argmin(keepdims=True), np.sqrt(squares.min(keepdims=True))
    import faiss

    index = faiss.IndexFlatL2(points.shape[1])
    index.add(np.ascontiguousarray(points, np.float32))
    squares, found = index.search(np.ascontiguousarray(x, np.float32), 1)
    return found[:, 0], np.sqrt(squares[:, 0].clip(min=0))
