"""`bench sampler`: milliseconds per batch and per refresh, every sampler at 1k, 10k and 100k episodes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from trajrl.cli.common import Common, progress, say
from trajrl.samplers import SAMPLERS, make_sampler
from trajrl.samplers.options import resolved_options

if TYPE_CHECKING:
    import numpy as np

    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import Anchors

OPTIONS: dict[str, dict[str, Any]] = {"cluster": {"clusters": 8}, "cluster*priority": {"clusters": 8}}


@dataclass(frozen=True, kw_only=True)
class BenchSampler(Common):
    """Time every sampler: batches on one core, the refresh that is due, and a refresh that is not."""

    COUNTS: ClassVar[tuple[str, ...]] = ("episodes", "length", "batch_size", "repeats")

    episodes: tuple[int, ...] = (1_000, 10_000, 100_000)
    """Sizes of the stores."""
    length: int = 20
    """Steps per episode, on average."""
    batch_size: int = 256
    """Anchors per batch."""
    repeats: int = 200
    """Batches timed; the median is reported."""

    def run(self) -> dict[str, Any]:
        """Time and answer."""
        names = [name for name in SAMPLERS if name != "product"] + ["cluster*priority"]
        rows = []
        for count in self.episodes:
            store = make_store(count, self.length, self.seed)
            for name in progress(names, f"{count} episodes"):
                rows.append({"sampler": name, "episodes": count, **self._time(name, store)})
        say("sampler             episodes   build ms  batch ms  refresh ms  idle refresh ms  per update ms")
        for row in rows:
            say(
                f"{row['sampler']:<18}  {row['episodes']:>8}  {row['build_ms']:>9.1f}  "
                f"{row['batch_ms']:>8.4f}  {row['refresh_ms']:>10.3f}  {row['idle_ms']:>15.4f}  "
                f"{row['update_ms']:>13.4f}"
            )
        return {"batch_size": self.batch_size, "rows": rows}

    def _time(self, name: str, store: TrajectoryStore) -> dict[str, float]:
        """Return milliseconds: to build, per batch, per refresh due and not due, and amortised per update."""
        from trajrl.core.rng import stream

        began = time.perf_counter()
        sampler = make_sampler(name, store, self.seed, **OPTIONS.get(name, {}))
        build = time.perf_counter() - began
        options = resolved_options(SAMPLERS, name, OPTIONS.get(name, {}))
        every = max([int(v) for key, v in options.items() if key.endswith("refresh_every")] or [1])
        took: dict[str, list[float]] = {"batch_ms": [], "idle_ms": [], "feedback_ms": [], "refresh_ms": []}
        step = 0
        for index in range(self.repeats):
            took["idle_ms"].append(_timed(sampler.refresh, step, score)[0])
            rng = stream(self.seed, "sampler", index)
            seconds, anchors = _timed(sampler.sample, rng, self.batch_size)
            took["batch_ms"].append(seconds)
            took["feedback_ms"].append(_timed(sampler.feedback, anchors, rng.random(self.batch_size))[0])
            if index % max(1, self.repeats // 10) == 0:
                step += every
                took["refresh_ms"].append(_timed(sampler.refresh, step, score)[0])
        times = {name: 1e3 * statistics.median(seconds) for name, seconds in took.items()}
        update = times["batch_ms"] + times["feedback_ms"] + times["idle_ms"] + times["refresh_ms"] / every
        return {"build_ms": 1e3 * build, **times, "refresh_every": every, "update_ms": update}


def make_store(count: int, length: int, seed: int) -> TrajectoryStore:
    """Return a store of random walks of three kinds, made at once."""
    import numpy as np

    from trajrl.core.rng import stream
    from trajrl.store.column import Column
    from trajrl.store.file.reader import Parts
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.table import Table

    rng = stream(seed, "bench")
    steps = rng.integers(max(1, length // 2), length + length // 2 + 1, count)
    kind = rng.integers(3, size=count)
    total = int(steps.sum())
    offset = np.repeat(kind, steps + 1).astype(np.float32)[:, None]  # (R, 1)
    start = np.cumsum(steps) - steps
    rewards = rng.normal(np.repeat(kind, steps), 1.0).astype(np.float32)
    columns = {
        "obs": Column(rng.normal(size=(total + count, 8)).astype(np.float32) + offset),
        "actions": Column(rng.normal(size=(total, 2)).astype(np.float32)),
        "rewards": Column(rewards),
    }
    table = Table()
    rows = {
        "start": start,
        "length": steps,
        "terminated": np.zeros(count, bool),
        "success": np.full(count, -1, np.int8),
        "returns": np.add.reduceat(rewards.astype(np.float64), start),
        "source_code": np.zeros(count, np.int32),
        "phase": (np.arange(count) % 2).astype(np.int8),  # half offline, half online, for mixtures
    }
    table.extend(rows, ["bench"])
    return TrajectoryStore.from_parts(Parts(columns, table, {}))


def score(anchors: Anchors) -> np.ndarray:
    """Stand in for an agent's Q: cheap, and different for every row."""
    import numpy as np

    return np.sin(anchors.episode * 12.9898 + anchors.step * 78.233)


def _timed(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Return the seconds a call took, and what it returned."""
    began = time.perf_counter()
    found = call(*arguments)
    return time.perf_counter() - began, found
