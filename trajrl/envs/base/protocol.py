"""EnvSuite: an environment to act in, the offline data that belongs to it, and how its returns are scored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import gymnasium
from torch import Tensor

from trajrl.store.episode import Episode

if TYPE_CHECKING:
    from trajrl.envs.base.wrappers import EnvOptions
    from trajrl.store.action_box import ActionBox
    from trajrl.store.store import TrajectoryStore


class Score(NamedTuple):
    """A return on a named scale; `value` is None where no reference belongs to this environment version."""

    value: float | None
    name: str  # 'd4rl', 'hopper@gymnasium-v4 (D4RL-scaled, other dynamics)', 'none' ...


class NoEnvironmentError(ValueError):
    """A name that has data and, here, no environment: it can be trained on, and not acted in."""


class EnvSuite(Protocol):
    """Inside trajrl actions lie in [-1, 1]; make() scales them to the environment's box."""

    name: str  # what the user asked for, resolvable again
    obs_dim: int
    action_dim: int
    images: dict[str, tuple[int, ...]]  # (height, width, channels) of what is shown beside the vector
    action_box: ActionBox  # what [-1, 1] stands for in the environment's own units
    options: EnvOptions  # what is done to the environment, complete; goes into config.json
    goal_conditioned: bool  # its observation is a state and, behind it, the goal
    records: tuple[str, ...]  # entries of info that recorded episodes keep, as they were before each step

    def make(self, seed: int, render: bool = False) -> gymnasium.Env:
        """Return one environment: flat float32 observations, actions in [-1, 1], info['success'] if known."""

    def task_of(self, episode: int) -> int | None:
        """Return the task of an episode by its number, from 1 on; None where there is but one."""

    def one_task(self) -> str:
        """Return one of its tasks as --env takes it: of a single task itself."""

    def episodes(self) -> Iterator[Episode]:
        """Yield the offline data that belongs to the environment; ValueError where there is none."""

    def relabel(self, store: TrajectoryStore) -> int:
        """Give offline data this task's rewards, in place; returns how many steps changed (mostly none)."""

    def score(self, episode_return: float) -> Score:
        """Put a return on the suite's scale."""

    def shape_reward(self, rewards: Tensor) -> Tensor:
        """Shape rewards elementwise for learning; `gather` applies it to offline and online data alike."""
