"""`bench store --remote-latency MS`: what drawing from a store elsewhere costs, served by this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.cli.bench.one_thread import one_thread
from trajrl.cli.common import say
from trajrl.cli.text_table import as_text, show_table
from trajrl.core.paths import PLACE

if TYPE_CHECKING:
    from trajrl.cli.bench.windows import Windows
    from trajrl.store.store import TrajectoryStore

TURN = 10  # batches of one store before the other's


def far(options: Windows, milliseconds: float) -> dict[str, Any]:
    """Draw from a store behind a latency: at once, read ahead, and from the cache beside a local file."""
    from trajrl.store.gather import gather
    from trajrl.store.remote.read_ahead import ReadAhead
    from trajrl.store.store import TrajectoryStore

    if milliseconds < 0:
        raise ValueError(f"--remote-latency must not be negative; got {milliseconds:g}")
    with options.file() as path, one_thread(), own_cache(), server(path.parent, milliseconds / 1e3) as url:
        near = TrajectoryStore.open(path, "map")
        anchors = options.anchors(near, "far")
        size = path.stat().st_size
        found: dict[str, Any] = {"latency_ms": milliseconds, "transitions": near.num_steps, "bytes": size}
        started = perf_counter()
        store = TrajectoryStore.open(url + path.name)
        found["open_seconds"] = perf_counter() - started
        fetcher = store.obs.base.far.parts[0].fetcher  # type: ignore[union-attr]
        started = perf_counter()
        gather(store, anchors[0], options.spec)
        found |= {"first_batch_seconds": perf_counter() - started, "first_batch_bytes": fetcher.num_bytes}
        ahead = ReadAhead(store, options.spec)
        started = perf_counter()
        for chosen in anchors:
            ahead.ask(chosen)
        ahead.wait()
        found["read_ahead_seconds"] = perf_counter() - started
        found |= {"requests": fetcher.num_requests, "fetched_bytes": fetcher.num_bytes}
        found |= cached(options, store, near)
    show_table(("", ""), [(key, as_text(value)) for key, value in found.items()])
    return found


def cached(options: Windows, store: TrajectoryStore, near: TrajectoryStore) -> dict[str, float]:
    """Return the milliseconds of a batch whose blocks are all here, and of the same from a mapped file."""
    from trajrl.store.gather import gather

    anchors = options.anchors(near, "far")
    times: dict[str, list[float]] = {"cached": [], "local": []}
    for first in range(0, len(anchors), TURN):
        for name, one in {"cached": store, "local": near}.items():
            started = perf_counter()
            for chosen in anchors[first : first + TURN]:
                gather(one, chosen, options.spec)
            times[name].append((perf_counter() - started) / len(anchors[first : first + TURN]) * 1e3)
    found = {f"{name}_ms": float(np.median(taken)) for name, taken in times.items()}
    return found | {"ratio": float(np.median(np.array(times["cached"]) / np.array(times["local"])))}


@contextmanager
def own_cache() -> Iterator[None]:
    """Keep blocks in a folder that is removed afterwards."""
    before = os.environ.get("TRAJRL_FAR_CACHE")
    with tempfile.TemporaryDirectory(prefix="trajrl-far-") as folder:
        os.environ["TRAJRL_FAR_CACHE"] = folder
        try:
            yield
        finally:
            os.environ.pop("TRAJRL_FAR_CACHE")
            if before is not None:
                os.environ["TRAJRL_FAR_CACHE"] = before


@contextmanager
def server(folder: Path, seconds: float) -> Iterator[str]:
    """Serve a folder from a process of its own, each answer after so many seconds; yields its address."""
    words = [sys.executable, "-c", SERVE, str(folder.resolve()), str(seconds)]
    process = subprocess.Popen(words, cwd=PLACE, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        say(f"serving {folder.name} at {address}, each answer after {seconds * 1e3:g} ms")
        yield address
    finally:
        process.terminate()
        process.communicate()


SERVE = """
import sys
from pathlib import Path
from trajrl.cli.bench.range_server import serving
with serving(Path(sys.argv[1]), float(sys.argv[2])) as address:
    print(address, flush=True)
    sys.stdin.read()
"""
