"""OnlineCollector: acts in the environments of a run, and keeps every episode in the journal and the store.

An episode is on disk before the next one begins in its environment.  A checkpoint holds the actions of the
open episodes, which are replayed, and how many records of the journal the run knew.  Records behind those
were written after the checkpoint: the run makes them again and compares, bit for bit.  Where an environment
turns out to be no function of its seed and actions, they are adopted as they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.console import say
from trajrl.rollout.collector import Collector, EnvFailureError, Finished, Streams
from trajrl.rollout.history_queue import Actor
from trajrl.store.hashing import new_hash
from trajrl.store.images import Seen, stacked
from trajrl.store.journal import Journal
from trajrl.store.notes import counted

if TYPE_CHECKING:
    from trajrl.envs.base.protocol import EnvSuite
    from trajrl.store.episode import Episode
    from trajrl.store.store import TrajectoryStore
    from trajrl.training.config import RunConfig

BROKEN = "broken"  # column of the episode table: the environment failed in the middle
Record = tuple["Episode", dict[str, Any]]


class OnlineCollector:
    """The environments of a run and what came out of them."""

    def __init__(
        self, folder: Path, suite: EnvSuite, actor: Actor, store: TrajectoryStore, config: RunConfig,
        recorded: Callable[[np.ndarray], np.ndarray],
    ) -> None:  # fmt: skip
        """Start at environment step 0; `recorded` turns actions in [-1, 1] into the units of the store."""
        self.store, self.recorded, self.max_failures = store, recorded, config.max_failures
        self.buffer = config.buffer
        self.rollout = Collector(suite, actor, Streams(config.seed, "env"), config.envs, source="online")
        self.journal = Journal(folder / "journal")
        self.unknown: deque[Record] = deque(self.journal.replay())  # on disk, but not yet in the store
        self.env_step = self.kept = self.failures = 0  # kept: records of the journal that are in the store
        self.repeatable = True  # False: an environment is no function of its seed and actions
        self.failure = ""  # the last one
        store.table.set(BROKEN, np.zeros(len(store), bool), fill=False)

    @property
    def stop_reason(self) -> str:
        """Return why the run must stop; empty if it need not."""
        failed = counted("environment[s]", self.failures)
        return f"{failed} failed, the last so: {self.failure}" if self.gave_up else ""

    @property
    def gave_up(self) -> bool:
        """Say whether environments failed too often to continue."""
        return self.failures >= self.max_failures

    def step(self, actor: Actor) -> None:
        """Take one step in every environment, and keep the episodes that ended with it."""
        if not self.repeatable:
            self.adopt()
        ended = self.rollout.step(explore=True, actor=actor)
        self.env_step += len(self.rollout.envs)
        for finished in ended:
            self.keep(finished)

    def keep(self, finished: Finished) -> None:
        """Write an episode to the journal, unless it is there already, and take it into the store."""
        reason = finished.failure.reason if finished.failure else ""
        if finished.failure is not None:
            self.count_failures(1, str(finished.failure))
            say(f"{finished.failure}; its environment was started again ({self.failures} so far)")
        if finished.episode is None:
            return
        episode = replace(finished.episode, actions=self.recorded(finished.episode.actions))
        meta = {
            "episode": finished.number,
            "seed": finished.seed,
            "broken": reason,
            "env_step": self.env_step,
        }
        if self.unknown and same_record(self.unknown[0], (episode, meta)):
            self.unknown.popleft()
        else:
            self.adopt()
            self.journal.append(episode, meta=meta)
        self.add(episode, meta)

    def count_failures(self, count: int, last: str) -> None:
        """Count environments that failed; `last` says what the last of them did."""
        self.failures, self.failure = self.failures + count, last

    def add(self, episode: Episode, meta: Mapping[str, Any]) -> None:
        """Take an episode of the journal into the store; a broken one is marked and never drawn."""
        number = self.store.append(episode, "online")
        self.kept += 1
        if meta["broken"]:
            self.store.table.broken[number] = True
            self.store.evict([number])
        if self.buffer:
            self.hide_oldest(number)

    def hide_oldest(self, newest: int) -> None:
        """Take the oldest episodes out of sampling until the others fit the buffer; all stay on disk."""
        live = self.store.live
        lengths = self.store.table.length[live]
        over = np.cumsum(lengths[::-1])[::-1] > self.buffer  # with all that came later it holds too many
        gone = live[over & (live != newest)]
        if len(gone):
            self.store.evict(gone)

    def adopt(self) -> None:
        """Take in what an earlier session wrote after the checkpoint and this one did not make again."""
        if not self.unknown:
            return
        self.repeatable = False
        say(
            f"{len(self.unknown)} episodes written after the checkpoint are taken as they are: the "
            "environment did not repeat them from seed and actions"
        )
        while self.unknown:
            episode, meta = self.unknown.popleft()
            self.add(episode, meta)
            self.env_step = max(self.env_step, int(meta["env_step"]))
            self.rollout.skip_to(int(meta["episode"]) + 1)

    def close(self) -> None:
        """Close the environments and the journal."""
        self.rollout.close()
        self.journal.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the counters, the collector, and a digest of what each open episode has seen."""
        counters = {"env_step": self.env_step, "kept": self.kept, "failures": self.failures}
        return {**counters, "collector": self.rollout.state_dict(), "seen": self._digests()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the episodes known then, and replay the open ones."""
        kept = int(state["kept"])
        if len(self.unknown) < kept or any(self.unknown[i][1]["number"] != i for i in range(kept)):
            raise ValueError(
                f"{self.journal.path} lacks episodes: the checkpoint was written with {kept} of them"
            )
        for _ in range(kept):
            self.add(*self.unknown.popleft())
        self.env_step, self.failures = int(state["env_step"]), int(state["failures"])
        try:
            self.rollout.load_state_dict(state["collector"])
            self.repeatable = self._digests() == list(state["seen"])
        except EnvFailureError:
            self.repeatable = False
        if not self.repeatable:
            self._start_anew()

    def _start_anew(self) -> None:
        """Give up the open episodes."""
        say("the open episodes are lost: the environment did not repeat them from seed and actions")
        for row in range(len(self.rollout.envs)):
            self.rollout.open[row] = None
            self.rollout.queues.reset(row)

    def _digests(self) -> list[str]:
        """Return a digest of the observations and rewards of every open episode; empty where none is open."""
        return [
            digest(*columns_of(recording.obs), np.array(recording.rewards)) if recording else ""
            for recording in self.rollout.open
        ]


def columns_of(seen: Sequence[Seen]) -> list[np.ndarray]:
    """Return the columns of observations: the vectors, then each image."""
    vectors, images = stacked(seen)
    return [vectors, *images.values()]


def digest(*arrays: np.ndarray) -> str:
    """Return a hash of arrays."""
    state = new_hash()
    for array in arrays:
        state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()


def same_record(left: Record, right: Record) -> bool:
    """Say whether two episodes are the same run of the same seed, bit for bit."""
    one, other = left[0], right[0]
    flags = [(e.terminated, e.success, m["episode"], m["seed"], m["broken"]) for e, m in (left, right)]
    return flags[0] == flags[1] and all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
        for name in ("obs", "actions", "rewards")
    )
