"""EnvSuite: an environment to act in, the offline data that belongs to it, and how its returns are scored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import gymnasium
from torch import Tensor

from trajrl.store.episode import Episode


class Score(NamedTuple):
    """A return on a named scale; `value` is None where no reference belongs to this environment version."""

    value: float | None
    name: str  # 'd4rl', 'hopper@gymnasium-v4 (D4RL-scaled, other dynamics)', 'none' ...


class EnvSuite(Protocol):
    """Inside trajrl actions lie in [-1, 1]; make() scales them to the environment's box."""

    name: str  # what the user asked for, resolvable again
    obs_dim: int
    action_dim: int

    def make(self, seed: int, render: bool = False) -> gymnasium.Env:
        """Return one environment: float32 flat observations, actions in [-1, 1], info['success'] if it says."""

    def episodes(self) -> Iterator[Episode]:
        """Yield the offline data that belongs to the environment; ValueError where there is none."""

    def score(self, episode_return: float) -> Score:
        """Put a return on the suite's scale."""

    def shape_reward(self, rewards: Tensor) -> Tensor:
        """Shape rewards elementwise for learning; `gather` applies it to offline and online data alike."""
