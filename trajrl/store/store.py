"""TrajectoryStore: all episodes, as flat columns and an episode table.

    observation row of (e, t) = start[e] + e + t        action row of (e, t) = start[e] + t

An episode of T actions owns T+1 observations.  Rewards and actions are kept as found; what training sees is
shaped by two elementwise functions that `gather` applies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy, deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.atomic_files import State, state_of
from trajrl.core.one_line import one_line
from trajrl.store.column import Column
from trajrl.store.episode import Episode
from trajrl.store.fingerprint import fingerprint
from trajrl.store.fit import require_fit
from trajrl.store.images import PREFIX, STATE, chosen_keys
from trajrl.store.table import Table, phase_code
from trajrl.store.terminal_marks import TerminalMarks

if TYPE_CHECKING:
    import torch

    from trajrl.store.file.reader import Parts
    from trajrl.store.goals import GoalLaw

    Shape = Callable[[torch.Tensor], torch.Tensor]

MOMENTS = ("obs_", "action_", "reward_")  # statistics that are taken over steps


def _as_found(values: torch.Tensor) -> torch.Tensor:
    return values


class TrajectoryStore:
    """Episodes under stable ids; empty in memory, or opened from a file and then growing in memory."""

    def __init__(self) -> None:
        self.obs = Column(np.empty((0, 0), np.float32))  # (R, obs), R = steps + episodes
        self.actions = Column(np.empty((0, 0), np.float32))  # (S, act)
        self.rewards = Column(np.empty((0,), np.float32))  # (S,)
        self.extras: dict[str, Column] = {}  # (S, ...)
        self.images: dict[str, Column] = {}  # (R, height, width, channels) uint8
        self.table = Table()
        self.attributes: dict[str, Any] = {}  # environment, action box, provenance, statistics
        self.shape_reward: Shape = _as_found
        self.shape_action: Shape = _as_found
        self.goals: GoalLaw | None = None  # which goals windows show; None: there are none
        self.version = 0  # counts every append, eviction, cut and relabelling: caches compare it
        self.relabelled = 0  # how often rewards and marks were replaced
        self.path: Path | None = None  # the file it was opened from, of several the first
        self.opened_from = ""  # in words
        self.state: State = ()  # of the file as it was opened; of several files, and far ones, none
        self._marks = TerminalMarks()
        self.derived: dict[Any, Any] = {}  # computed of columns, marks and lengths; emptied when they change

    @classmethod
    def open(cls, path: str | Path | Sequence[str | Path], memory: str = "auto") -> TrajectoryStore:
        """Open a store, or several as one: files, addresses, patterns, or a text of such words.

        Args:
            memory: 'map' (mapped from disk), 'ram' (read whole) or 'auto' (by size)
        """
        # It needs h5py, which a store in memory does without.
        from trajrl.store.file.reader import read_parts
        from trajrl.store.places import expand, split_places
        from trajrl.store.remote.addresses import is_far

        if isinstance(path, Path):
            names = [str(path)]
        else:
            names = split_places(path) if isinstance(path, str) else expand(map(str, path))
        state: State = ()
        if len(names) == 1 and not is_far(names[0]):
            state = state_of(Path(names[0]).expanduser())
            store = cls.from_parts(read_parts(Path(names[0]).expanduser(), memory))
        else:
            from trajrl.store.shards import read_shards

            store = cls.from_parts(read_shards(names, memory))
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        store.path, store.opened_from = Path(names[0]).expanduser(), f"{names[0]}{more}"
        store.state = state
        return store

    @classmethod
    def from_parts(cls, parts: Parts) -> TrajectoryStore:
        """Make a store of what a file holds."""
        store = cls()
        columns = dict(parts.columns)
        store.obs, store.actions, store.rewards = map(columns.pop, ("obs", "actions", "rewards"))
        store.images = {n.removeprefix(PREFIX): columns.pop(n) for n in list(columns) if n.startswith(PREFIX)}
        store.extras = {name.removeprefix("extras/"): column for name, column in columns.items()}
        store.table, store.attributes = parts.table, parts.attributes
        return store

    @classmethod
    def of(cls, episodes: Iterable[Episode]) -> TrajectoryStore:
        """Make a store in memory from offline episodes."""
        store = cls()
        for episode in episodes:
            store.append(episode, "offline")
        return store

    def __repr__(self) -> str:
        """Return how much there is, of what, and where it comes from."""
        counts = f"{len(self.live):,} episodes", f"{self.num_steps:,} steps"
        widths = [f"obs {self.obs.width}", f"actions {self.actions.width}"]
        widths += [f"{name} {shape}" for name, shape in self.image_shapes.items()]
        origin = self.attributes.get("environment", ""), self.opened_from or "in memory"
        return one_line(self, *counts, *widths, *origin)

    def __len__(self) -> int:
        """Return how many episodes were ever added; ids run below this."""
        return len(self.table)

    def view(self) -> TrajectoryStore:
        """Return a store of the same columns with a table of its own, to be shaped and evicted from apart."""
        other = copy(self)
        other.table, other.attributes = deepcopy(self.table), deepcopy(self.attributes)
        other.extras, other.derived, other._marks = dict(self.extras), {}, copy(self._marks)
        return other

    def set_shaping(self, reward: Shape | None = None, action: Shape | None = None) -> None:
        """Set what `gather` makes of rewards and actions, elementwise; None leaves one as it is."""
        self.shape_reward = reward or self.shape_reward
        self.shape_action = action or self.shape_action
        self.derived.clear()

    @property
    def num_steps(self) -> int:
        """Return the number of actions in episodes that are alive."""
        return int(self.table.length[self.table.alive].sum())

    @property
    def obs_dim(self) -> int:
        """Return the width of an observation."""
        return self.obs.width[0]

    @property
    def seen_dim(self) -> int:
        """Return the width of an observation as windows show it: with its goal, where there are goals."""
        return self.obs_dim * (2 if self.goals else 1)

    def require_vectors(self, what: str) -> None:
        """Refuse, for `what` reads vectors alone, observations that are images alone."""
        if not self.obs_dim:
            raise ValueError(
                f"{what} compares vectors; observations here are images ({', '.join(self.images)}) alone; "
                "`store embed` writes vectors of them"
            )

    @property
    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return (height, width, channels) of every image of an observation, in order."""
        return {name: column.width for name, column in self.images.items()}

    @property
    def action_dim(self) -> int:
        """Return the width of an action."""
        return self.actions.width[0]

    @property
    def live(self) -> np.ndarray:
        """Return the ids of the episodes that are alive, in order."""
        return np.flatnonzero(self.table.alive)

    def append(self, episode: Episode, phase: str = "online") -> int:
        """Add an episode and return its id."""
        if not len(self):
            self._take_shapes(episode)
        require_fit(episode, (self.obs_dim, self.action_dim), self.image_shapes, self.extras)
        self._add_extras(episode)
        start = len(self.actions)
        self.obs.append(episode.obs)
        self.actions.append(episode.actions)
        self.rewards.append(episode.rewards)
        for name, frames in self.images.items():
            frames.append(episode.images[name])
        for name, column in self.extras.items():
            column.append(
                episode.extras.get(name, np.zeros((len(episode), *column.width), column.base.dtype))
            )
        self.version += 1
        return self.table.append(
            start=start, length=len(episode), terminated=episode.terminated, returns=episode.episode_return,
            success=-1 if episode.success is None else int(episode.success),
            source_code=self.table.code(episode.source), phase=phase_code(phase), alive=True,
        )  # fmt: skip

    def episode(self, e: int) -> Episode:
        """Copy episode `e` out of the store, as found."""
        if not 0 <= e < len(self):
            raise ValueError(f"no episode {e}; the store has those from 0 to {len(self) - 1}")
        table, start = self.table, int(self.table.start[e])
        stop = start + int(table.length[e])
        extras = {name: np.array(column.slice(start, stop)) for name, column in self.extras.items()}
        images = {n: np.array(c.slice(start + e, stop + e + 1)) for n, c in self.images.items()}
        success = None if table.success[e] < 0 else bool(table.success[e])
        return Episode(
            np.array(self.obs.slice(start + e, stop + e + 1)), np.array(self.actions.slice(start, stop)),
            np.array(self.rewards.slice(start, stop)), bool(table.terminated[e]), success,
            table.source_of(e), extras, images,
        )  # fmt: skip

    def episodes(self) -> Iterable[Episode]:
        """Yield every episode that is alive, in order of id."""
        return (self.episode(int(e)) for e in self.live)

    def evict(self, episodes: np.ndarray | list[int]) -> None:
        """Take whole episodes out of sampling; every other id stays what it was."""
        self.table.alive[np.asarray(episodes, np.int64)] = False
        self.version += 1

    def cut_after_success(self) -> int:
        """End every episode at its first terminal mark; returns how many actions are no longer used."""
        table, marks = self.table, self.marks()
        row = marks[np.searchsorted(marks, table.start)]  # (E,) the first mark at or after each start
        cut = np.flatnonzero(row < table.start + table.length)
        before = int(table.length.sum())
        table.length[cut] = (row - table.start)[cut] + 1
        table.terminated[cut] = True
        for e in cut:
            first = int(table.start[e])
            table.returns[e] = self.rewards.slice(first, first + int(table.length[e])).sum(dtype=np.float64)
        if len(cut):  # the moments were taken over steps that are no longer used
            kept = self.attributes.get("statistics", {})
            self.attributes["statistics"] = {n: v for n, v in kept.items() if not n.startswith(MOMENTS)}
            self.derived.clear()
            self.version += 1
        return before - int(table.length.sum())

    def relabel(self, rewards: np.ndarray, terminal: np.ndarray) -> None:
        """Replace every reward (S,) and terminal mark (S,), and what is kept about them."""
        self.rewards, self.extras["terminal"] = Column(rewards), Column(terminal)
        self._marks = TerminalMarks()
        self.derived.clear()
        self.relabelled += 1
        table = self.table
        sums = np.concatenate([[0.0], np.cumsum(rewards, dtype=np.float64)])
        table.returns[:] = sums[table.start + table.length] - sums[table.start]
        marks = np.concatenate([[0], np.cumsum(terminal)])
        table.success[:] = marks[table.start + table.length] > marks[table.start]
        kept = self.attributes.get("statistics")
        if kept:
            live = np.asarray(rewards, np.float64)
            found = {"mean": live.mean(), "std": live.std(ddof=1), "min": live.min(), "max": live.max()}
            kept.update({f"reward_{name}": np.array([value]) for name, value in found.items()})
        self.version += 1

    def set_goals(self, law: GoalLaw) -> None:
        """Let windows show a goal beside every observation; what was recorded of a task is hidden.

        Rewards and ends of the store itself become those of reaching each episode's last observation.
        """
        self.relabel(np.full(len(self.actions), -1.0, np.float32), np.zeros(len(self.actions), bool))
        self.table.terminated[:], self.table.success[:] = True, -1
        self.goals = law

    def keep_columns(self, columns: np.ndarray) -> None:
        """Drop every other column of the observations; what is left is held in memory."""
        self.obs = Column(np.ascontiguousarray(self.obs.slice(0, len(self.obs))[:, columns]))
        kept = self.attributes.get("statistics", {})
        narrowed = {n: v[columns] for n, v in kept.items() if n.startswith("obs_")}
        self.attributes["statistics"] = {**kept, **narrowed}
        self.derived.clear()
        self.version += 1

    def keep_keys(self, keys: Iterable[str]) -> None:
        """Let training see only these keys of an observation, images in this order: `state` is the vector."""
        kept = chosen_keys(keys, self.obs_dim, self.images)
        self.images = {name: self.images[name] for name in kept if name != STATE}
        if STATE not in kept:
            self.obs = Column(np.empty((len(self.obs), 0), np.float32))
            found = self.attributes.get("statistics", {})
            self.attributes["statistics"] = {
                n: v[:0] if n.startswith("obs_") else v for n, v in found.items()
            }

    def action_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and largest action recorded, per dimension: (act,), (act,)."""
        kept = self.attributes.get("statistics", {})
        if "action_min" in kept and self.version == 0:
            return kept["action_min"], kept["action_max"]
        blocks = [
            self.actions.slice(i, min(i + 1_000_000, len(self.actions)))
            for i in range(0, len(self.actions), 1_000_000)
        ]
        return np.min([b.min(0) for b in blocks], 0), np.max([b.max(0) for b in blocks], 0)

    @property
    def fingerprint(self) -> str:
        """Return the hash of the content; that of an opened, unchanged file is the one recorded there."""
        if self.version == 0 and self.path:
            return str(self.attributes["fingerprint"])
        columns = {"obs": self.obs, "actions": self.actions, "rewards": self.rewards}
        columns |= {f"{PREFIX}{name}": column for name, column in self.images.items()}
        columns |= {f"extras/{name}": column for name, column in self.extras.items()}
        return fingerprint(columns, self.table)

    def marks(self) -> np.ndarray:
        """Return the action rows with a terminal mark in order, closed by a row beyond every episode."""
        return self._marks.of(self.extras.get("terminal"))

    def keep_on(self, device: str | torch.device) -> None:
        """Hold observations, actions and rewards on the device, so that windows are gathered there."""
        for column in (self.obs, self.actions, self.rewards, *self.images.values()):
            column.keep_on(device)

    def _take_shapes(self, episode: Episode) -> None:
        self.obs = Column(np.empty((0, episode.obs.shape[1]), np.float32))
        self.actions = Column(np.empty((0, episode.actions.shape[1]), np.float32))
        self.images = {n: Column(np.empty((0, *f.shape[1:]), np.uint8)) for n, f in episode.images.items()}

    def _add_extras(self, episode: Episode) -> None:
        """Give the store the per-step columns it lacks; earlier steps hold zeros."""
        for name, column in episode.extras.items():
            if name not in self.extras:
                self.extras[name] = Column(np.zeros((len(self.actions), *column.shape[1:]), column.dtype))
