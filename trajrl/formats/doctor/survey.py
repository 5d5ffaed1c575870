"""Survey: everything the checks need to know of the episodes, taken in one pass and in constant memory.

Per episode only its length, end, return and a hash are kept.  Rows with NaN or inf count as `bad` and enter
no other number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trajrl.formats.base.source import Source
from trajrl.store.episode import Episode
from trajrl.store.hashing import new_hash

HUGE = 1e6  # no observation, action or reward of a known task is as large
SLACK = 1e-5  # a box is left only by more than this share of its size: rounding
KINDS = 5  # distinct rewards remembered
COLUMNS = ("obs", "actions", "rewards")


@dataclass
class Tally:
    """How often something was seen, and where first."""

    count: int = 0
    where: str = ""

    def add(self, hits: Any, episode: int) -> None:
        """Take in one truth per step of an episode (T,), or one of the whole (1,)."""
        if hits.any():
            step = f", step {int(hits.argmax())}" if len(hits) > 1 else ""
            self.where = self.where or f"episode {episode}{step}"
            self.count += int(hits.sum())


@dataclass
class Survey:
    """What was seen in the episodes of a source."""

    low: np.ndarray  # (act,) the action box, [-1, 1] where the source names none
    high: np.ndarray
    boxed: bool  # the source names its box
    lengths: list[int] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    bad: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in COLUMNS})  # NaN or inf
    huge: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in COLUMNS})
    outside: Tally = field(default_factory=Tally)  # steps with an action outside the box
    zero_rows: Tally = field(default_factory=Tally)
    duplicates: Tally = field(default_factory=Tally)  # episodes
    marked_often: Tally = field(default_factory=Tally)  # episodes with more than one terminal mark
    jumps: Tally = field(default_factory=Tally)  # steps farther than the task can go
    early_rewards: int = 0  # misses if rewards are read as a function of o_t, and of o_{t+1}
    late_rewards: int = 0
    goals: int = 0  # episodes in which those could be told apart
    obs_low: np.ndarray = field(default_factory=lambda: np.zeros(0))
    obs_high: np.ndarray = field(default_factory=lambda: np.zeros(0))
    action_low: np.ndarray = field(default_factory=lambda: np.zeros(0))
    action_high: np.ndarray = field(default_factory=lambda: np.zeros(0))
    whole_actions: bool = True  # every action is a whole number of 0 or more
    whole_obs: bool = True
    reward_values: set[float] = field(default_factory=set)  # at most KINDS
    seen: set[bytes] = field(default_factory=set)

    @property
    def episodes(self) -> int:
        """Return how many episodes there are."""
        return len(self.lengths)

    @property
    def transitions(self) -> int:
        """Return how many steps there are."""
        return sum(self.lengths)


def new_survey(source: Source, action_dim: int) -> Survey:
    """Start a survey with the box the source names."""
    if source.action_low is None or source.action_high is None:
        return Survey(-np.ones(action_dim), np.ones(action_dim), boxed=False)
    return Survey(source.action_low, source.action_high, boxed=True)


def take(survey: Survey, episode: Episode, jump: float) -> None:
    """Take in one episode; `jump` is a distance in obs[:, :2] that no step covers, 0 if unknown."""
    e = survey.episodes
    survey.lengths.append(len(episode))
    survey.terminated.append(episode.terminated)
    survey.returns.append(episode.episode_return)
    found = hash_of(episode)
    survey.duplicates.add(np.array([found in survey.seen]), e)
    survey.seen.add(found)
    _take_numbers(survey, episode, e)
    _take_ends(survey, episode, e, jump)


def hash_of(episode: Episode) -> bytes:
    """Hash the actions and observations of an episode."""
    state = new_hash()
    for column in (episode.actions, episode.obs, *episode.images.values()):
        state.update(np.ascontiguousarray(column).data)
    return state.digest()


def _take_numbers(survey: Survey, episode: Episode, e: int) -> None:
    """Take in ranges, boxes and kinds of numbers, of rows that hold numbers at all."""
    finite = {}
    for name in COLUMNS:
        column = getattr(episode, name)
        column = column.reshape(len(column), -1) if column.size else np.empty((len(column), 0))
        good = np.isfinite(column).all(1)
        survey.bad[name].add(~good, e)
        survey.huge[name].add((np.abs(np.where(good[:, None], column, 0)) > HUGE).any(1), e)
        finite[name] = column[good]
    obs, actions, rewards = finite["obs"], finite["actions"], finite["rewards"]
    if obs.size:
        survey.obs_low, survey.obs_high = _widen(survey.obs_low, survey.obs_high, obs)
        survey.whole_obs = survey.whole_obs and bool((obs == np.round(obs)).all() and obs.min() >= 0)
        zeros = (episode.obs == 0).all(1)
        zeros[0] = False  # an episode may well begin at the origin
        survey.zero_rows.add(zeros, e)
    if len(actions):
        survey.action_low, survey.action_high = _widen(survey.action_low, survey.action_high, actions)
        whole = (actions == np.round(actions)).all() and actions.min() >= 0
        survey.whole_actions = survey.whole_actions and bool(whole)
    slack = SLACK * (survey.high - survey.low)
    survey.outside.add(
        ((episode.actions < survey.low - slack) | (episode.actions > survey.high + slack)).any(1), e
    )
    if len(survey.reward_values) < KINDS:
        survey.reward_values.update(np.unique(rewards)[:KINDS].tolist())


def _take_ends(survey: Survey, episode: Episode, e: int, jump: float) -> None:
    """Take in marks, jumps in position and how rewards lie beside distances to a goal."""
    marks = episode.extras.get("terminal")
    survey.marked_often.add(np.array([marks is not None and marks.sum() > 1]), e)
    if jump:
        survey.jumps.add(np.linalg.norm(np.diff(episode.obs[:, :2], axis=0), axis=1) > jump, e)
    goal = episode.extras.get("goal")
    binary = len(np.unique(episode.rewards)) == 2
    if goal is not None and goal.ndim == 2 and goal.shape[1] <= episode.obs.shape[1] and binary:
        distance = [
            np.linalg.norm(rows[:, : goal.shape[1]] - goal, axis=1)
            for rows in (episode.obs[:-1], episode.obs[1:])
        ]
        reached = episode.rewards == episode.rewards.max()
        misses = [int((~reached & (far <= far[reached].max())).sum()) for far in distance]
        survey.early_rewards += misses[0]
        survey.late_rewards += misses[1]
        survey.goals += 1


def _widen(low: np.ndarray, high: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Widen a range by rows."""
    least, most = rows.min(0), rows.max(0)
    return (np.minimum(low, least), np.maximum(high, most)) if low.size else (least, most)
