"""ogbench:NAME: the tasks of OGBench, seen by state or by image, and rewards for its reward-free data.

    reward at t = (solved parts of s_t) - (number of parts);  terminal at t where every part of s_t is solved

A name that begins with visual- shows images of 64x64 in place of the state, rendered at every step.

A name without `singletask` is goal-conditioned: the goal lies behind the state, and an episode has one of the
five tasks, in turn.

Since OGBench 1.2.0 the environments follow the same rule: reward and end belong to the state acted in.

Paper: Park et al. 2025 (OGBench).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from typing import TYPE_CHECKING

import gymnasium
import numpy as np

from trajrl.envs.base.protocol import Score
from trajrl.envs.base.suite import Suite
from trajrl.envs.base.wrappers import EnvOptions
from trajrl.envs.ogbench_environment import StateAndGoal, make_ogbench, require
from trajrl.envs.ogbench_names import VISUAL, parse, recorded, single_task, usual
from trajrl.envs.ogbench_rewards import parts_of
from trajrl.formats import open_source
from trajrl.store.episode import Episode

if TYPE_CHECKING:
    from torch import Tensor

    from trajrl.store.store import TrajectoryStore

TASKS = 5  # of each environment


class OgbenchSuite(Suite):
    """One task of OGBench by its published name; a name of none is goal-conditioned, and takes all five."""

    prefix = "ogbench"
    has_sparse = True

    def __init__(self, name: str, options: EnvOptions | None = None) -> None:
        self.task = parse(name)
        self.records = recorded(name)
        if not self.task.single_task:
            require(self.task.environment, f"ogbench:{name}")
            if name.startswith(VISUAL):
                raise ValueError(
                    f"ogbench:{name} is goal-conditioned; take one of its tasks, such as "
                    f"{single_task(name)}: its goals are images, and goals are learned of numbers alone"
                )
            self.goal_conditioned, self.num_tasks = True, TASKS
        super().__init__(name, options)

    @classmethod
    def knows(cls, name: str) -> bool:
        """Recognise a task's name by the word that all of them have."""
        return "-singletask-" in name

    @classmethod
    def tasks(cls, name: str) -> tuple[str, ...]:
        """Return the five tasks of cube-double, cube-double-v0 or cube-double-play-v0; a task is itself."""
        if "-singletask" in name:
            return (name,)
        family, _, version = (name if re.search(r"-v\d+$", name) else f"{name}-v0").rpartition("-")
        return tuple(f"{family}{usual(family)}-singletask-task{i}-{version}" for i in range(1, TASKS + 1))

    def one_task(self) -> str:
        """Return the default task."""
        return self.name if self.task.single_task else f"{self.prefix}:{single_task(self.own_name)}"

    @classmethod
    def note(cls) -> str:
        """Name the version of the package whose rule it is: earlier ones had another."""
        return f"rewards and success as ogbench {version('ogbench')} has them: those of the state acted in"

    @classmethod
    def data_name(cls, name: str) -> str:
        """Return the name of the data set that a task belongs to."""
        return parse(name).dataset

    def build(self, seed: int, render: bool) -> gymnasium.Env:
        """Make the environment; its draws from numpy's global generator are its own."""
        env = make_ogbench(self.task.environment, self.name, render)
        return StateAndGoal(env) if self.goal_conditioned else env

    def episodes(self) -> Iterator[Episode]:
        """Yield the data set that belongs to the task, from OGBench's cache or by download; no rewards."""
        yield from open_source(self.task.dataset).episodes()

    def relabel(self, store: TrajectoryStore) -> int:
        """Give every step of the data this task's reward and terminal mark, from qpos and button states."""
        if self.goal_conditioned:
            return 0
        solved = self.solved_parts(store)  # (S, parts)
        rewards = (solved.sum(1) - solved.shape[1]).astype(np.float32)  # (S,)
        before = np.asarray(store.rewards.slice(0, len(store.rewards)))
        store.relabel(rewards, np.asarray(solved.all(1)))
        return int((before != rewards).sum())

    def solved_parts(self, store: TrajectoryStore) -> np.ndarray:
        """Return which parts of the task are solved at each step of a store, (S, parts)."""
        needed = [name for name in self.records if name != "qvel"]
        if missing := [name for name in needed if name not in store.extras]:
            raise ValueError(f"{self.name} is relabelled from {', '.join(missing)}, which the data lacks")
        with closing(self.make_here(0)) as env:
            return parts_of(env.unwrapped, self.task.environment, store, needed)

    def score(self, episode_return: float) -> Score:
        """OGBench reports success and no score; the package's version stands in the name of the scale."""
        return Score(None, f"ogbench-{version('ogbench')}")

    def shape_reward(self, rewards: Tensor) -> Tensor:
        """With the option `sparse` every unsolved step costs 1, however many parts are solved."""
        shaped = -(rewards != 0).to(rewards.dtype) if self.options.sparse else rewards
        return super().shape_reward(shaped)
