"""What a rollout yields: random streams, an episode under way, and how it ended or broke off.

reset seed of episode i            stream(seed, name, *index, i)
noise of its query at step t       stream(seed, name/act, *index, i, t)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trajrl.core.rng import integer
from trajrl.store.episode import Episode
from trajrl.store.images import Seen, stacked


@dataclass(frozen=True)
class Streams:
    """Where the random numbers of an episode come from."""

    seed: int
    name: str = "env"
    index: tuple[int, ...] = ()

    def reset_seed(self, episode: int) -> int:
        """Return the 31-bit seed that an episode is reset with; some environments take no wider one."""
        return integer(self.seed, self.name, *self.index, episode) >> 32

    def query_seed(self, episode: int, step: int) -> int:
        """Return the seed of the noise an actor draws at `step` of an episode."""
        return integer(self.seed, f"{self.name}/act", *self.index, episode, step)


class EnvFailureError(RuntimeError):
    """An environment raised, or returned numbers that are not finite."""

    def __init__(self, row: int, episode: int, step: int, reason: str) -> None:
        reason = " ".join(reason.split())  # simulators write several lines
        super().__init__(f"environment {row} failed at step {step} of episode {episode}: {reason}")
        self.row, self.episode, self.step, self.reason = row, episode, step, reason


@dataclass(frozen=True)
class Finished:
    """An episode that ended, or broke off: then `failure` says why and `episode` is what there was."""

    number: int
    seed: int  # what the environment was reset with
    row: int  # the environment it ran in
    episode: Episode | None
    failure: EnvFailureError | None = None


@dataclass
class Recording:
    """One episode under way."""

    number: int
    seed: int
    obs: list[Seen] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    extras: dict[str, list[np.ndarray]] = field(default_factory=dict)
    records: tuple[str, ...] = ()  # entries of info to keep
    info: dict[str, Any] = field(default_factory=dict)  # of the last step
    success: bool | None = None

    def begin(self, obs: Seen, info: dict[str, Any]) -> None:
        """Take in what the reset gave."""
        self.obs.append(obs)
        self.info = info

    def add(self, action: np.ndarray, reward: float, obs: Seen, info: dict[str, Any]) -> None:
        """Take in one step; the entries of info to be kept are as they were before it."""
        for name in self.records:
            self.extras.setdefault(name, []).append(np.array(self.info[name]))
        self.obs.append(obs)
        self.actions.append(np.array(action, np.float32))
        self.rewards.append(reward)
        self.info = info
        found = info.get("success", info.get("is_success"))
        if found is not None:  # the environment's own word; one such step is enough
            self.success = bool(self.success) or bool(np.any(found))

    def episode(self, terminated: bool, source: str) -> Episode | None:
        """Return what was recorded; None if not one step was."""
        if not self.actions:
            return None
        extras = {name: np.stack(column) for name, column in self.extras.items()}
        obs, images = stacked(self.obs)
        actions, rewards = np.stack(self.actions), np.asarray(self.rewards)
        return Episode(obs, actions, rewards, terminated, self.success, source, extras, images)
