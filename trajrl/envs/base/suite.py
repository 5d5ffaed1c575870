"""Suite: what all suites share.  A subclass builds the raw environment; this brings it to trajrl's terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.one_line import changed, one_line
from trajrl.envs.base.protocol import Score
from trajrl.envs.base.reference_scores import measured
from trajrl.envs.base.subprocess_env import SubprocessEnv
from trajrl.envs.base.wrappers import Embedded, EnvOptions, Unscaled, wrap
from trajrl.store.episode import Episode

if TYPE_CHECKING:
    import gymnasium
    from torch import Tensor

    from trajrl.store.store import TrajectoryStore


class Suite:
    """One environment by name; dimensions are read from a first copy, so that a bad one fails at once."""

    name: str  # what the user asked for, resolvable again: prefix:own_name
    prefix = ""  # the suite's name in ENVS; empty: names stand for themselves
    takes_arguments = False  # True: build() hands options.arguments to the environment's constructor
    has_sparse = False  # True: shape_reward() knows options.sparse
    of_user = False  # True: the environment is a user's own code, which may do anything
    makes_data = False  # True: episodes() makes the offline data on the spot, the same at every call
    goal_conditioned = False  # True: its observation is a state and, behind it, the goal
    num_tasks = 0  # tasks that its episodes take in turn; 0: there is but one
    records: tuple[str, ...] = ()  # entries of info that collected data keeps, as they were before each step

    def __init__(self, name: str, options: EnvOptions | None = None) -> None:
        self.name, self.own_name = f"{self.prefix}:{name}" if self.prefix else name, name
        self.options = options or EnvOptions()
        if self.options.sparse and not self.has_sparse:
            raise ValueError(f"{self.name} has no sparse variant: leave the option sparse out")
        if self.options.arguments and not self.takes_arguments:
            raise ValueError(
                f"{self.name} takes no arguments of its own; got {', '.join(self.options.arguments)}"
            )
        env = self.make(0)
        assert isinstance(env, Unscaled | Embedded | SubprocessEnv)
        self.keep, self.whole, self.limit = env.keep, env.whole, env.limit
        self.action_box = env.action_box  # what [-1, 1] stands for in the environment's own units
        self.obs_dim, self.images = env.obs_dim, dict(env.images)
        self.action_dim = int(np.prod(env.action_space.shape or ()))
        env.close()

    def __repr__(self) -> str:
        """Return its name, its sizes, and which options are not as they are by default."""
        if "action_dim" not in vars(self):
            return one_line(self, "not built")
        box = f" in {self.action_box}" if self.action_box else ""
        sizes = f"obs {self.obs_dim}", f"actions {self.action_dim}{box}"
        shown = [f"{key} {tuple(shape)}" for key, shape in self.images.items()]
        return one_line(self, self.name, *sizes, *shown, *changed(self.options))

    @classmethod
    def published(cls, name: str) -> dict[str, Any]:
        """Return the options that an environment is published with; what a user sets wins."""
        return {}

    @classmethod
    def knows(cls, name: str) -> bool:
        """Return whether a name that came without a suite, and that nothing has, must mean this one."""
        return False

    @classmethod
    def tasks(cls, name: str) -> tuple[str, ...]:
        """Return the tasks that a name stands for, in their published order: mostly itself alone."""
        return (name,)

    @classmethod
    def note(cls) -> str:
        """Return what must stand beside every number of this suite; mostly nothing."""
        return ""

    @classmethod
    def data_name(cls, name: str) -> str:
        """Return the name of the offline data that belongs to an environment; empty where none has one."""
        return f"{cls.prefix}:{name}" if cls.makes_data else ""

    @classmethod
    def recorded_with(cls, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that a store's attributes say it was recorded under."""
        return {}

    def task_of(self, episode: int) -> int | None:
        """Return the task of an episode by its number, from 1 on; None where there is but one."""
        return episode % self.num_tasks + 1 if self.num_tasks else None

    def one_task(self) -> str:
        """Return one of its tasks as --env takes it: of a single task itself."""
        return self.name

    def see(self, store: TrajectoryStore) -> None:
        """Hide from training the columns of a store's observations that the policy will not see."""
        if self.keep is not None and store.obs_dim == self.whole:
            store.keep_columns(self.keep)

    def build(self, seed: int, render: bool) -> gymnasium.Env:
        """Return the raw environment; with `render` its render() gives frames."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to build an environment")

    def make(self, seed: int, render: bool = False) -> gymnasium.Env:
        """Return one environment; flat observations or parts by key, actions in [-1, 1], reset once."""
        if self.options.env_timeout:
            return SubprocessEnv(self.name, type(self), self.own_name, self.options, seed, render)
        return self.make_here(seed, render)

    def make_here(self, seed: int, render: bool = False) -> gymnasium.Env:
        """Return one environment in this process, so that its inside can be looked at."""
        env = wrap(self.build(seed, render), self.options, self.name)
        try:
            env.reset(seed=seed)
        except Exception as error:
            raise ValueError(f"{self.name} could not be reset: {type(error).__name__}: {error}") from error
        return env

    def episodes(self) -> Iterator[Episode]:
        """Yield the offline data that belongs to the environment."""
        raise ValueError(f"no offline data belongs to '{self.name}'; name some with --data")

    def relabel(self, store: TrajectoryStore) -> int:
        """Give offline data this task's rewards, in place; returns how many steps changed (mostly none)."""
        return 0

    def score(self, episode_return: float) -> Score:
        """Put a return on the suite's scale."""
        return measured(self.name, episode_return, self.options)

    def shape_reward(self, rewards: Tensor) -> Tensor:
        """Shape rewards elementwise for learning; what an evaluation reports is never shaped."""
        return rewards + self.options.reward_shift if self.options.reward_shift else rewards
