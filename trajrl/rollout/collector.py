"""Collector: steps V environments together, for training and evaluation, and returns the episodes that ended.

What an episode draws depends on its own number alone, never on how many environments run beside it, so a
collector is saved as the actions of its open episodes and comes back by replaying them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch

from trajrl.core.console import say
from trajrl.rollout.episode_recorder import EnvFailureError, Finished, Recording, Streams
from trajrl.rollout.history_queue import Actor, Queues
from trajrl.store.episode import Episode
from trajrl.store.images import Seen, parts_of
from trajrl.store.notes import counted

if TYPE_CHECKING:
    from trajrl.envs.base.protocol import EnvSuite

__all__ = ["Actor", "Collector", "EnvFailureError", "Finished", "Queues", "Streams", "in_order"]

LONG = 50_000  # steps of an episode that may have no end
FAILURES = (Exception, SystemExit)  # of an environment; simulators leave the process where they give up


class Collector:
    """Steps V environments together, one call of the actor for all that need a new chunk."""

    def __init__(
        self,
        suite: EnvSuite,
        actor: Actor,
        streams: Streams,
        num_envs: int,
        *,
        num_episodes: int | None = None,
        numbers: Sequence[int] | None = None,
        source: str = "",
        render: bool = False,
        watch: Callable[[int, gymnasium.Env], None] | None = None,
        ceiling: int = 0,
    ) -> None:
        """Run episodes 0 .. num_episodes - 1 (None: no end), or those of `numbers`, from the lowest on.

        `watch` sees (episode, env) before a step.  An episode of `ceiling` steps raises EndlessError, one of
        half as many is reported; 0: no ceiling.
        """
        if num_envs < 1:
            raise ValueError(f"a collector needs at least one environment; got {num_envs}")
        if numbers is None and num_episodes is not None:
            numbers = range(num_episodes)
        num_envs = num_envs if numbers is None else min(num_envs, len(numbers))
        self.suite, self.actor, self.streams, self.numbers = suite, actor, streams, numbers
        self.source, self.render, self.watch = source, render, watch
        self.ceiling, self.long = ceiling, ceiling // 2 or LONG
        self.envs = [suite.make(streams.seed, render) for _ in range(num_envs)]
        self.queues = Queues(actor, num_envs)
        self.open: list[Recording | None] = [None] * num_envs
        self.next_episode = 0
        self.rngs = {row: torch.Generator() for row in range(num_envs)}  # of the actor's draws

    @property
    def done(self) -> bool:
        """Return whether every episode asked for has ended."""
        return not self._more and not any(self.open)

    def step(self, explore: bool = False, actor: Actor | None = None) -> list[Finished]:
        """Take one step in every environment that has an episode; `actor` stands in for this collector's own.

        An environment without an open episode starts the next one first; with none left to start it rests.
        """
        ended, rows = self.begin()
        self.queues.ask(self.queues.waiting(rows), self.rngs, explore, actor)
        return ended + self.advance(rows)

    def begin(self) -> tuple[list[Finished], list[int]]:
        """Start episodes where there are none; returns what failed, and the environments that have one.

        Those among them whose chunk is used up have their generators set for the actor's draws.
        """
        ended = [failed for row in range(len(self.envs)) if (failed := self._start(row))]
        rows = [row for row, recording in enumerate(self.open) if recording]
        for row in self.queues.waiting(rows):
            recording = self._recording(row)
            self.rngs[row].manual_seed(self.streams.query_seed(recording.number, len(recording.actions)))
        return ended, rows

    def advance(self, rows: Sequence[int]) -> list[Finished]:
        """Take the next action of the chunk in each of `rows`; returns the episodes that ended."""
        return [done for row in rows if (done := self._advance(row, self.queues.take(row)))]

    def skip_to(self, number: int) -> None:
        """Let the next episode be that of place `number`, or a later one that is next already."""
        self.next_episode = max(self.next_episode, number)

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()

    def state_dict(self) -> dict[str, Any]:
        """Return each open episode's number, its actions and those still queued; a replay gives the rest."""
        rows = [
            None if recording is None else {
                "episode": recording.number, "queued": self.queues.left(row),
                "actions": np.array(recording.actions, np.float32).reshape(-1, self.actor.action_dim),
            }
            for row, recording in enumerate(self.open)
        ]  # fmt: skip
        return {"next_episode": self.next_episode, "open": rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replay the open episodes from seed and actions; one that ends early raises EnvFailureError."""
        if len(state["open"]) != len(self.envs):
            saved, own = len(state["open"]), len(self.envs)
            raise ValueError(
                f"the run steps {counted('environment[s]', saved)} together, and here {own} were asked for: "
                f"resume with --envs {saved}, or begin another run with --from and --envs {own}"
            )
        self.next_episode = int(state["next_episode"])
        for row, saved in enumerate(state["open"]):
            self.open[row] = None
            if saved is not None and not self._replay(row, saved):
                reason = "replayed from its seed and actions it ended early: it is not deterministic"
                raise EnvFailureError(row, int(saved["episode"]), len(saved["actions"]), reason)

    @property
    def _more(self) -> bool:
        return self.numbers is None or self.next_episode < len(self.numbers)

    def _recording(self, row: int) -> Recording:
        recording = self.open[row]
        assert recording is not None
        return recording

    def _start(self, row: int) -> Finished | None:
        """Start the next episode in an idle environment; a reset that fails is returned."""
        if self.open[row] is not None or not self._more:
            return None
        place, self.next_episode = self.next_episode, self.next_episode + 1
        return self._reset(row, place if self.numbers is None else self.numbers[place])

    def _reset(self, row: int, number: int) -> Finished | None:
        recording = self.open[row] = Recording(
            number, self.streams.reset_seed(number), records=self.suite.records
        )
        self.queues.reset(row)
        task = self.suite.task_of(number)
        chosen: dict[str, Any] = {} if task is None else {"options": {"task_id": task}}
        try:
            obs, info = self.envs[row].reset(seed=recording.seed, **chosen)
            check_finite(obs, 0.0)
        except FAILURES as error:
            return self._break(row, error)
        recording.begin(obs, info)
        self.queues.see(row, obs)
        return None

    def _advance(self, row: int, action: np.ndarray) -> Finished | None:
        """Take one step in one environment; returns its episode if that ended."""
        recording, env = self._recording(row), self.envs[row]
        if self.watch is not None:
            self.watch(recording.number, env)
        try:
            obs, reward, terminated, truncated, info = env.step(action)
            check_finite(obs, float(reward))
        except FAILURES as error:
            return self._break(row, error)
        recording.add(action, float(reward), obs, info)
        self.queues.see(row, obs)
        if terminated or truncated:
            return self._end(row, terminated)
        self._note_length(recording)
        return None

    def _note_length(self, recording: Recording) -> None:
        """Speak of an episode that may have no end, and stop at the ceiling."""
        steps = len(recording.actions)
        if steps in (self.long, self.ceiling):
            text = f"episode {recording.number} of {self.suite.name} has not ended after {steps:,} steps"
            hint = "--set env.time_limit=N ends each episode there"
            if steps == self.ceiling:
                raise EndlessError(f"{text}: {hint}")
            say(f"{text}; {hint}")

    def _end(self, row: int, terminated: bool, failure: EnvFailureError | None = None) -> Finished:
        """Close the episode of one environment; what was left of its chunk is dropped."""
        recording, self.open[row] = self._recording(row), None
        self.queues.reset(row)
        episode = recording.episode(terminated, self.source)
        return Finished(recording.number, recording.seed, row, episode, failure)

    def _break(self, row: int, error: BaseException) -> Finished:
        """Close an episode that failed, and put a fresh environment in its place."""
        recording = self._recording(row)
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        failure = EnvFailureError(row, recording.number, len(recording.actions), reason)
        finished = self._end(row, False, failure)
        with suppress(*FAILURES):  # what is broken may break once more as it is closed
            self.envs[row].close()
        self.envs[row] = self._made_again()
        return finished

    def _made_again(self) -> gymnasium.Env:
        """Return a fresh environment; where none can be built, one whose reset fails, as one more failure."""
        try:
            return self.suite.make(self.streams.seed, self.render)
        except FAILURES as error:
            return Absent(error)

    def _replay(self, row: int, saved: dict[str, Any]) -> bool:
        """Bring one environment back to where its episode stood; False if the episode did not get there."""
        if self._reset(row, int(saved["episode"])):
            return False
        for action in saved["actions"]:
            self.queues.last[row] = action
            if self._advance(row, action):
                return False
        self.queues.chunks[row].extend(saved["queued"])
        return True


class EndlessError(ValueError):
    """An episode of an evaluation has no end."""


class Absent(gymnasium.Env):
    """Stands where an environment could not be built again."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def reset(self, **options: Any) -> Any:
        """Say why there is no environment."""
        raise RuntimeError(f"it could not be built again ({self._error})")


def check_finite(obs: Seen, reward: float) -> None:
    """Refuse NaN and inf, which would poison every statistic and network."""
    if not (np.isfinite(parts_of(obs)[0]).all() and np.isfinite(reward)):
        raise ValueError("it returned an observation or a reward that is not finite")


def in_order(collector: Collector, explore: bool = False) -> Iterator[Finished]:
    """Run episodes and yield them by number: the order does not depend on how many environments run."""
    waiting: dict[int, Finished] = {}
    order = iter(count(collector.next_episode) if collector.numbers is None else collector.numbers)
    due = next(order, -1)
    while not collector.done:
        for finished in collector.step(explore):
            waiting[finished.number] = finished
        while due in waiting:
            yield waiting.pop(due)
            due = next(order, -1)


def collect(
    suite: EnvSuite, actor: Actor, streams: Streams, num_envs: int, source: str, first: int = 0
) -> Iterator[Episode]:
    """Yield episodes from number `first` on, without end; one that broke off raises its EnvFailureError."""
    collector = Collector(suite, actor, streams, num_envs, source=source)
    collector.skip_to(first)
    try:
        for finished in in_order(collector):
            if finished.failure is not None:
                raise finished.failure
            assert finished.episode is not None
            yield finished.episode
    finally:
        collector.close()
