"""Scripted behaviour that needs more than observations: it reads `info` and keeps a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np

from trajrl.core.console import say
from trajrl.core.rng import integer, stream
from trajrl.store.episode import Episode
from trajrl.store.images import Seen, stacked

ATTEMPTS = 100  # at one episode


class Demonstrates(Protocol):
    """A script with a plan."""

    def begin(self, obs: Any, info: dict[str, Any], rng: np.random.Generator) -> None:
        """Plan an episode; all randomness comes from `rng`."""

    def act(self, obs: Any, info: dict[str, Any]) -> np.ndarray:
        """Choose the next action, (act,) in [-1, 1]."""


def always(extras: Mapping[str, np.ndarray]) -> bool:
    """Keep every episode."""
    return True


class Demonstration(NamedTuple):
    """A script and the environment it acts in."""

    env: gymnasium.Env
    script: Demonstrates
    records: tuple[str, ...]  # entries of info that are kept, as they were before each step
    name: str  # the environment, as data should name it
    keeps: Callable[[Mapping[str, np.ndarray]], bool] = always  # by its extras; else it is recorded again


def demonstrate(
    shown: Demonstration, seed: int, number: int, source: str, noise: float = 0.0, epsilon: float = 0.0
) -> Episode:
    """Run episode `number` of the run with `seed`, again where the demonstration does not keep it.

    Args:
        noise: of `disturbed`, as is epsilon
    """
    for attempt in range(ATTEMPTS):
        found = attempted(shown, seed, (number, attempt) if attempt else (number,), source, noise, epsilon)
        if shown.keeps(found.extras):
            return found
        say(f"episode {number} of {shown.name} is recorded again: its script does not keep this one")
    raise ValueError(f"episode {number} of {shown.name} was recorded {ATTEMPTS} times, and none is kept")


def attempted(
    shown: Demonstration, seed: int, index: tuple[int, ...], source: str, noise: float, epsilon: float
) -> Episode:
    """Run one episode; all its randomness is that of (seed, index)."""
    env, script, records = shown.env, shown.script, shown.records
    obs, info = env.reset(seed=integer(seed, "demonstrate", *index) >> 32)
    rng = stream(seed, "demonstrate/act", *index)
    script.begin(obs, info, rng)
    seen: list[Seen] = [obs]
    actions, rewards = [], []
    kept: dict[str, list[np.ndarray]] = {name: [] for name in records}
    success: bool | None = None
    terminated = truncated = False
    while not (terminated or truncated):
        action = disturbed(np.asarray(script.act(obs, info), np.float32), rng, noise, epsilon)
        for name, column in kept.items():
            column.append(np.array(info[name]))
        obs, reward, terminated, truncated, info = env.step(action)
        seen.append(obs)
        actions.append(action)
        rewards.append(reward)
        found = info.get("success", info.get("is_success"))
        success = success if found is None else bool(success) or bool(np.any(found))
    extras = {name: np.stack(column) for name, column in kept.items()}
    vectors, images = stacked(seen)
    return Episode(vectors, np.stack(actions), np.array(rewards), terminated, success, source, extras, images)


def disturbed(action: np.ndarray, rng: np.random.Generator, noise: float, epsilon: float) -> np.ndarray:
    """Return an action with N(0, noise^2) added or, with probability `epsilon`, a uniform one instead."""
    if noise:
        action = np.clip(action + noise * rng.standard_normal(len(action)), -1, 1).astype(np.float32)
    if epsilon and rng.random() < epsilon:
        return rng.uniform(-1, 1, len(action)).astype(np.float32)
    return action
