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
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium
import numpy as np

from trajrl.core.damage import first_line
from trajrl.core.extras import install
from trajrl.core.registry import unknown
from trajrl.core.rendering import NEEDED, choose_backend
from trajrl.envs.base.global_rng import SeededGlobals
from trajrl.envs.base.protocol import Score
from trajrl.envs.base.suite import Suite
from trajrl.envs.base.wrappers import EnvOptions
from trajrl.formats import open_source
from trajrl.store.episode import Episode

if TYPE_CHECKING:
    from torch import Tensor

    from trajrl.store.store import TrajectoryStore

OBJECTS = 14  # where qpos of cubes, buttons, drawer and window begins, behind the arm's
TOLERANCE = 0.04  # metres within which an object is at its target
BALL = 15  # where qpos of antsoccer's ball begins
DATASETS = ("-play", "-noisy", "-navigate", "-stitch", "-explore")
TASKS = 5  # of each environment
VISUAL = "visual-"  # begins the names of environments that show images
BLOCK_ROWS = 1 << 18  # rows relabelled at a time


class Name(NamedTuple):
    """Of cube-double-play-singletask-task2-v0: the environment has no play, the data no singletask-task2."""

    environment: str
    dataset: str
    single_task: bool


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
        solved = parts_of(self, store)  # (S, parts)
        rewards = (solved.sum(1) - solved.shape[1]).astype(np.float32)  # (S,)
        before = np.asarray(store.rewards.slice(0, len(store.rewards)))
        store.relabel(rewards, np.asarray(solved.all(1)))
        return int((before != rewards).sum())

    def score(self, episode_return: float) -> Score:
        """OGBench reports success and no score; the package's version stands in the name of the scale."""
        return Score(None, f"ogbench-{version('ogbench')}")

    def shape_reward(self, rewards: Tensor) -> Tensor:
        """With the option `sparse` every unsolved step costs 1, however many parts are solved."""
        shaped = -(rewards != 0).to(rewards.dtype) if self.options.sparse else rewards
        return super().shape_reward(shaped)


def parse(name: str) -> Name:
    """Split a published name; without 'singletask' it is goal-conditioned."""
    words = name.split("-")
    if words[0] == "powderworld" or "oraclerep" in words:
        raise ValueError(f"ogbench:{name} has discrete actions or goal representations, which no agent takes")
    if "singletask" not in words:
        return Name(without_dataset(name), name, False)
    place = words.index("singletask")
    family, task = "-".join(words[:place]), "-".join(words[place:])
    dataset = f"{family}{usual(family)}-{words[-1]}"
    return Name(f"{family.removesuffix(kind_of(family))}-{task}", dataset, True)


def kind_of(family: str) -> str:
    """Return the kind of data that a name ends with, such as -play; empty where it names none."""
    return next((kind for kind in DATASETS if family.endswith(kind)), "")


def usual(family: str) -> str:
    """Return the kind of data to add to a name that names none."""
    if kind_of(family):
        return ""
    return "-navigate" if walks(family) else "-play"


def walks(family: str) -> bool:
    """Distinguish what moves itself from what handles objects."""
    return bool(re.search("maze|soccer", family))


def without_dataset(name: str) -> str:
    """Return the environment that a goal-conditioned name belongs to."""
    family, dash, version = name.rpartition("-")
    return f"{family.removesuffix(kind_of(family))}{dash}{version}"


def single_task(name: str) -> str:
    """Return the default task of a goal-conditioned environment or of a data set's name."""
    family, _, version = name.rpartition("-")
    return f"{family}{usual(family)}-singletask-{version}"


def recorded(name: str) -> tuple[str, ...]:
    """Return what collected data must keep so that it can be relabelled for any task."""
    buttons = name.removeprefix(VISUAL).startswith(("scene", "puzzle"))
    return ("qpos", "qvel", "button_states") if buttons else ("qpos", "qvel")


def make_ogbench(environment: str, name: str, render: bool, **options: Any) -> gymnasium.Env:
    """Make an environment of the package by its own id."""
    require(environment, name)
    if render or environment.startswith(VISUAL):
        choose_backend(f"the images of {name}")
    warnings.filterwarnings("ignore", ".*precision lowered by casting")  # of its bounds, at every look
    with warnings.catch_warnings():  # of a missing display
        warnings.simplefilter("ignore")
        try:
            raw = gymnasium.make(environment, disable_env_checker=True, **options)
            env = Physics(SeededGlobals(FixedSpaces(raw)))
            if environment.startswith(VISUAL):
                env.reset(seed=0)  # draws the first frame, where it can
        except ValueError as error:  # MuJoCo's, about the package's own model
            raise ValueError(f"{name} cannot be made: {' '.join(str(error).split())}") from error
        except Exception as error:  # OpenGL's are of all kinds
            if not environment.startswith(VISUAL):
                raise
            said = f"{type(error).__name__}: {first_line(error)}"
            raise ValueError(f"{name} cannot render its images ({said}); they need {NEEDED}") from error
        return env


def require(environment: str, name: str) -> None:
    """Refuse an environment that the package has not; without the package its extra is named."""
    if find_spec("ogbench") is None:
        raise ValueError(f"{name} needs the extra 'ogbench': {install('ogbench')}")
    with warnings.catch_warnings():  # of a missing display
        warnings.simplefilter("ignore")
        import ogbench

    entries = gymnasium.registry.items()
    known = [known for known, entry in entries if str(entry.entry_point).startswith(ogbench.__name__)]
    if environment not in known:
        raise ValueError(f"{name}: {unknown('OGBench environment', environment, known)}")


class FixedSpaces(gymnasium.Wrapper):
    """Spaces computed once; the package makes new ones at every look."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.observation_space, self.action_space = env.observation_space, env.action_space


class StateAndGoal(gymnasium.Wrapper):
    """The goal's observation behind the state's own; reset(options={"task_id": 1 .. 5}) chooses the task."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        width = 2 * int(np.prod(env.observation_space.shape or ()))
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)

    def reset(self, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode, which has a goal of its own."""
        obs, info = self.env.reset(**options)
        self._goal = np.array(info["goal"], np.float32)
        return self._beside(obs), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._beside(obs), reward, terminated, truncated, info

    def _beside(self, obs: np.ndarray) -> np.ndarray:
        return np.concatenate([np.asarray(obs, np.float32), self._goal])


class Physics(gymnasium.Wrapper):
    """Let info hold qpos and qvel after a reset too, as it does after a step."""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        obs, info = self.env.reset(**options)
        raw: Any = self.env.unwrapped
        physics = raw.data if hasattr(raw, "data") else raw._data
        return obs, {**info, "qpos": physics.qpos.copy(), "qvel": physics.qvel.copy()}

    def close(self) -> None:
        """Free the simulation, and what draws it, while OpenGL is still there."""
        raw: Any = self.env.unwrapped
        for name in ("_renderer", "custom_renderer"):
            if getattr(raw, name, None) is not None:
                getattr(raw, name).close()
                setattr(raw, name, None)
        super().close()


def parts_of(suite: OgbenchSuite, store: TrajectoryStore) -> np.ndarray:
    """Return which parts of the task are solved at each step of a store, (S, parts)."""
    env = suite.make_here(0)
    raw: Any = env.unwrapped
    needed = [name for name in suite.records if name != "qvel"]
    missing = [name for name in needed if name not in store.extras]
    if missing:
        raise ValueError(f"{suite.name} is relabelled from {', '.join(missing)}, which the data lacks")
    blocks = range(0, len(store.actions), BLOCK_ROWS)
    columns = [
        {
            name: np.asarray(store.extras[name].slice(first, min(first + BLOCK_ROWS, len(store.actions))))
            for name in needed
        }
        for first in blocks
    ]
    solved = np.concatenate([solved_parts(raw, suite.task.environment, block) for block in columns])
    env.close()
    return solved


def solved_parts(raw: Any, environment: str, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Compare recorded physics with the goal that `raw` was reset to: (S, parts)."""
    qpos = columns["qpos"]
    if re.search("maze|soccer", environment):
        first = BALL if "soccer" in environment else 0
        distance = np.linalg.norm(qpos[:, first : first + 2] - raw.cur_goal_xy, axis=1)
        return (distance <= raw._goal_tol)[:, None]
    buttons = columns["button_states"] == raw._target_button_states if "button_states" in columns else None
    if environment.removeprefix(VISUAL).startswith("puzzle"):
        assert buttons is not None
        return buttons
    cubes = raw._num_cubes
    places = qpos[:, OBJECTS : OBJECTS + 7 * cubes].reshape(len(qpos), cubes, 7)[..., :3]  # (S, cubes, 3)
    near = np.linalg.norm(places - raw._data.mocap_pos, axis=-1) <= TOLERANCE
    if buttons is None:
        return near
    slides = OBJECTS + 7 * cubes + raw._num_buttons  # drawer, then window
    target = np.array([raw._target_drawer_pos, raw._target_window_pos])
    return np.concatenate([near, buttons, np.abs(qpos[:, slides : slides + 2] - target) <= TOLERANCE], axis=1)
