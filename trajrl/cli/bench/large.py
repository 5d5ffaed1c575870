"""What drawing from a mapped store costs: uniform windows, priorities and k-means over all its episodes.

Memory of a process that maps a file is of two kinds: its own, and pages of the file, which the system takes
back when it needs them.  The first is what must be bounded.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch

from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.samplers.clustering.fit import ClusterSpec, cluster_store
from trajrl.store.gather import gather
from trajrl.store.window import WindowSpec

CLUSTERS = 16


def sampling(path: Path, batch: int, history: int, chunk: int, batches: int) -> dict[str, Any]:
    """Draw uniformly and gather, rank all episodes by TD error, cluster all episodes; times and memory."""
    from trajrl.store.store import TrajectoryStore

    torch.set_num_threads(1)
    store, spec = TrajectoryStore.open(path, "map"), WindowSpec(history, chunk)
    uniform, drawn, started, used = make_sampler("uniform", store), [], perf_counter(), process_time()
    for index in range(batches):
        anchors = uniform.sample(stream(0, "bench uniform", index), batch)
        gather(store, anchors, spec)
        drawn.append(anchors.episode)
    seconds, cpu = perf_counter() - started, process_time() - used
    priority, built = timed(lambda: make_sampler("priority", store))
    for index in range(batches):
        anchors = priority.sample(stream(0, "bench priority", index), batch)
        priority.feedback(anchors, stream(0, "bench td", index).random(batch))
    _, ranked = timed(lambda: priority.refresh(priority.config.refresh_every))
    used = process_time()
    found, clustered = timed(lambda: cluster_store(store, ClusterSpec(min(CLUSTERS, len(store)))))
    return {
        "uniform_batch_ms": seconds / batches * 1e3, "uniform_batch_cpu_ms": cpu / batches * 1e3,
        "uniform_quarters": quarters(np.concatenate(drawn), len(store)),
        "priority_build_ms": built * 1e3, "priority_rank_ms": ranked * 1e3,
        "cluster_seconds": clustered, "cluster_cpu_seconds": process_time() - used, "clusters": found.count,
        "sample_own_mb": megabytes("RssAnon"),
        "sample_file_mb": megabytes("RssFile"), "sample_peak_mb": megabytes("VmHWM"),
    }  # fmt: skip


def quarters(episode: np.ndarray, episodes: int) -> list[float]:
    """Return which share of the draws fell into each quarter of the episodes; a quarter each, if uniform."""
    return (np.bincount(episode * 4 // episodes, minlength=4) / len(episode)).round(4).tolist()


def timed(call: Any) -> tuple[Any, float]:
    """Return what a call gives, and its seconds."""
    started = perf_counter()
    return call(), perf_counter() - started


def megabytes(name: str) -> float:
    """Return a size that Linux reports of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {name}: memory is known on Linux alone")
