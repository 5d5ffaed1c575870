"""OGBench's scripted controller of point mazes: from any cell to one random goal after another.

    a_t = (c - x_t) / |c - x_t|      c: centre of the next cell on the shortest way, in the last one the goal

Goals are centres of cells that are no corridors, displaced as the package displaces them; its data has noise
of deviation 0.5 (`--noise 0.5`).  Rewards, marks and success belong to the task's one goal, which the
controller does not know of.

Paper: Park et al. 2025 (OGBench), data sets `navigate`.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium
import numpy as np

from trajrl.core.rng import stream

AROUND = ((-1, 0), (0, -1), (1, 0), (0, 1))
Cell = tuple[int, int]  # row, column


class AnyCell(gymnasium.Wrapper):
    """A maze's single task, begun anywhere; info says whether the state it comes with is at the goal."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in a random free cell; `seed` settles which."""
        _, info = self.env.reset(seed=seed, options=options)
        raw: Any = self.env.unwrapped
        rng = stream(0 if seed is None else seed, "maze/start")
        raw.set_xy(beside(raw, one_of(cells(raw.maze_map), rng), rng))
        now = {"qpos": raw.data.qpos.copy(), "qvel": raw.data.qvel.copy(), "terminal": raw.compute_success()}
        return raw.get_ob(), {**info, **now}

    def step(self, action: Any) -> Any:
        """Take a step."""
        *found, info = self.env.step(action)
        raw: Any = self.env.unwrapped
        return *found, {**info, "terminal": raw.compute_success()}


class WaypointScript:
    """Walks to a random goal, then to the next."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._goals = crossings(self._raw.maze_map)

    def begin(self, obs: np.ndarray, info: dict[str, Any], rng: np.random.Generator) -> None:
        """Choose the first goal; all randomness comes from `rng`."""
        self._rng = rng
        self._choose()

    def act(self, obs: np.ndarray, info: dict[str, Any]) -> np.ndarray:
        """Step towards the next cell of the way; where the goal is reached, choose another first."""
        place = self._raw.get_xy()
        if np.linalg.norm(place - self._goal) <= self._raw._goal_tol:
            self._choose()
        ahead = self._waypoint(self._raw.xy_to_ij(place)) - place
        return (ahead / (np.linalg.norm(ahead) + 1e-6)).astype(np.float32)

    def _choose(self) -> None:
        self._cell = one_of(self._goals, self._rng)
        self._goal = beside(self._raw, self._cell, self._rng)
        self._distance = distances(self._raw.maze_map, self._cell)

    def _waypoint(self, here: Cell) -> np.ndarray:
        """Return where to walk to from a cell; noise may have pushed the point into the rim of a wall's."""
        if here == self._cell:
            return self._goal
        near = [cell for cell in neighbours(here) if cell in self._distance]
        best = min([here, *near], key=lambda cell: self._distance.get(cell, np.inf))
        return np.array(self._raw.ij_to_xy(best))


def cells(maze: np.ndarray) -> list[Cell]:
    """Return the free cells."""
    return [(int(i), int(j)) for i, j in np.argwhere(maze == 0)]


def crossings(maze: np.ndarray) -> list[Cell]:
    """Return the free cells that are no corridor: not just the two opposite neighbours are free."""
    free = {cell: [int(maze[near]) == 0 for near in neighbours(cell)] for cell in cells(maze)}
    straight = ([True, False, True, False], [False, True, False, True])
    return [cell for cell, open_to in free.items() if open_to not in straight]


def neighbours(cell: Cell) -> list[Cell]:
    """Return the four cells around one."""
    return [(cell[0] + down, cell[1] + right) for down, right in AROUND]


def distances(maze: np.ndarray, goal: Cell) -> dict[Cell, int]:
    """Return the steps from every free cell to a goal, by breadth-first search."""
    found, waiting = {goal: 0}, deque([goal])
    while waiting:
        cell = waiting.popleft()
        for near in neighbours(cell):
            if near not in found and maze[near] == 0:
                found[near] = found[cell] + 1
                waiting.append(near)
    return found


def one_of(choices: list[Cell], rng: np.random.Generator) -> Cell:
    """Draw a cell."""
    return choices[int(rng.integers(len(choices)))]


def beside(raw: Any, cell: Cell, rng: np.random.Generator) -> np.ndarray:
    """Return a place in a cell, at most a quarter of its width from the centre in each direction."""
    return np.array(raw.ij_to_xy(cell)) + rng.uniform(-raw._noise, raw._noise, 2) * raw._maze_unit / 4
