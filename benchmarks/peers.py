"""Time what others offer for the same work: windows out of a million transitions.

Updates are timed by peer_updates.py.
Run it once in an environment of the peers (`pip install torch torchrl cpprb d3rlpy numpy`), once in this
project's own.  What is not installed is left out.  A bare numpy gather is timed in both: ratios to it compare
across the two.  One thread; medians in processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch starts its threads

import numpy as np

EPISODES, LENGTH, OBS, ACT = 1_000, 1_000, 17, 6
WINDOWS, STEPS = 256, 13  # a history of 8 and the 5 steps after it
Timed = Callable[[], object]


def columns() -> dict[str, np.ndarray]:
    """Return a million transitions as flat columns."""
    rng, count = np.random.Generator(np.random.Philox(0)), EPISODES * LENGTH
    return {
        "obs": rng.standard_normal((count, OBS), np.float32),
        "actions": rng.uniform(-1, 1, (count, ACT)).astype(np.float32),
        "rewards": rng.standard_normal((count, 1), np.float32),
        "last": np.arange(count) % LENGTH == LENGTH - 1,
    }


def with_numpy(kept: dict[str, np.ndarray]) -> dict[str, Timed]:
    """Gather windows by index: nothing is masked, checked or made a tensor."""
    rng = np.random.Generator(np.random.Philox(1))

    def windows() -> object:
        start = rng.integers(EPISODES, size=WINDOWS) * LENGTH + rng.integers(LENGTH - STEPS, size=WINDOWS)
        rows = start[:, None] + np.arange(STEPS)
        return [kept[name][rows] for name in ("obs", "actions", "rewards")]

    return {"numpy, bare gather": windows}


def with_torchrl(kept: dict[str, np.ndarray]) -> dict[str, Timed]:
    """SliceSampler, which finds trajectories by their ends, anew or cached."""
    import torch
    from tensordict import TensorDict
    from torchrl.data import LazyTensorStorage, ReplayBuffer, SliceSampler

    def buffer(cached: bool) -> Timed:
        count = EPISODES * LENGTH
        sampler = SliceSampler(slice_len=STEPS, end_key="last", cache_values=cached)
        found = ReplayBuffer(storage=LazyTensorStorage(count), sampler=sampler, batch_size=WINDOWS * STEPS)
        found.extend(TensorDict({name: torch.from_numpy(part) for name, part in kept.items()}, [count]))
        return found.sample

    return {"torchrl SliceSampler": buffer(False), "torchrl SliceSampler, cached": buffer(True)}


def with_cpprb(kept: dict[str, np.ndarray]) -> dict[str, Timed]:
    """Single transitions: it has no windows that end where episodes do."""
    from cpprb import ReplayBuffer

    shapes = {"obs": OBS, "act": ACT, "rew": 1, "next_obs": OBS, "done": 1}
    found = ReplayBuffer(EPISODES * LENGTH, {name: {"shape": size} for name, size in shapes.items()})
    found.add(
        obs=kept["obs"], act=kept["actions"], rew=kept["rewards"], next_obs=kept["obs"], done=kept["last"]
    )
    return {"cpprb, single transitions": lambda: found.sample(WINDOWS)}


def with_d3rlpy(kept: dict[str, np.ndarray]) -> dict[str, Timed]:
    """Trajectory windows."""
    import d3rlpy

    ends = kept["last"].astype(np.float32)
    names = ("obs", "actions", "rewards")
    dataset = d3rlpy.dataset.MDPDataset(*(kept[name] for name in names), np.zeros_like(ends), ends)
    return {"d3rlpy trajectory windows": lambda: dataset.sample_trajectory_batch(WINDOWS, STEPS)}


def with_trajrl(kept: dict[str, np.ndarray]) -> dict[str, Timed]:
    """Masked windows: history, chunk and the history at the bootstrap."""
    from trajrl import Episode, TrajectoryStore, WindowSpec, gather, make_sampler
    from trajrl.core.cpu import set_threads
    from trajrl.core.rng import stream

    set_threads(1)
    obs, actions, rewards = (
        kept[name].reshape(EPISODES, LENGTH, -1) for name in ("obs", "actions", "rewards")
    )
    store = TrajectoryStore.of(
        Episode(np.concatenate((o, o[-1:])), a, r[:, 0], False) for o, a, r in zip(obs, actions, rewards)
    )
    sampler, rng, spec = make_sampler("uniform", store), stream(0, "peers"), WindowSpec(history=8, chunk=5)
    return {"trajrl windows": lambda: gather(store, sampler.sample(rng, WINDOWS), spec)}


def milliseconds(call: Timed, seconds: float = 4.0) -> float:
    """Return the median processor time of a call, over some seconds of them."""
    for _ in range(3):
        call()
    took, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until or len(took) < 5:
        began = time.process_time()
        call()
        took.append(time.process_time() - began)
    return 1e3 * statistics.median(took)


def measure() -> dict[str, Any]:
    """Time everything that is installed."""
    kept, found = columns(), {}
    versions = {"numpy": np.__version__}
    for make in (with_numpy, with_torchrl, with_cpprb, with_d3rlpy, with_trajrl):
        peer = make.__name__.removeprefix("with_")
        try:
            contestants = make(kept)
        except ModuleNotFoundError as error:
            print(f"{peer} is left out: no {error.name}")
            continue
        versions[peer] = metadata.version(peer)
        found |= {name: milliseconds(call) for name, call in contestants.items()}
    return {"milliseconds": found, "versions": versions}


def main() -> None:
    """Print a line for each contestant, or one JSON object."""
    parser = argparse.ArgumentParser(description="Windows of other libraries beside trajrl's.")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    asked, found = parser.parse_args(), measure()
    bare = found["milliseconds"]["numpy, bare gather"]
    for name, took in found["milliseconds"].items():
        print(f"{name:<30} {took:8.3f} ms   {took / bare:7.2f} times the bare gather")
    if asked.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
