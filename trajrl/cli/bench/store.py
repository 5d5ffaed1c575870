"""`bench gather` and `bench store`: windows per second, and what opening a large store costs."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Annotated, Any

from trajrl.cli.bench.generated import forget, read_through
from trajrl.cli.bench.one_thread import one_thread
from trajrl.cli.bench.windows import Windows
from trajrl.cli.common import say
from trajrl.cli.option import silent
from trajrl.cli.text_table import as_text, show_table
from trajrl.core.paths import PLACE

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import Anchors, WindowSpec

LIMIT_MS, LIMIT_MAPPED = 0.6, 1.5  # what a batch may take from memory, and how much more when it is mapped


@dataclass(frozen=True, kw_only=True)
class BenchGather(Windows):
    """Time `gather` on one core: from memory, and from a mapped file that is in the page cache."""

    def run(self) -> dict[str, Any]:
        """Measure both and compare with the limits."""
        return gather(self)


@dataclass(frozen=True, kw_only=True)
class BenchStore(Windows):
    """Time opening, sampling, clustering and verifying a large store, and what memory it takes."""

    obs_dim: int = 28
    """Numbers in an observation of the generated store."""
    data: Annotated[Path | None, silent("PATH", "one is generated")] = None
    """A store to measure on, such as benchmarks/make_large_store.py writes."""

    def file(self) -> AbstractContextManager[Path]:
        """Take the store given, else make one and remove it afterwards."""
        return nullcontext(self.data) if self.data else super().file()

    shards: int = 0
    """Compare drawing from this many files with drawing from one that holds the same; 0: do not."""

    remote_latency: Annotated[float | None, silent("MS", "on this machine's disk alone")] = None
    """Read the store from a server on this machine that answers each request after so many milliseconds."""

    def run(self) -> dict[str, Any]:
        """Measure on a generated file."""
        from trajrl.cli.bench.far import far
        from trajrl.cli.bench.shards import shards

        if self.remote_latency is not None:
            return far(self, self.remote_latency)
        return shards(self, self.shards) if self.shards else store(self)


def gather(options: BenchGather) -> dict[str, Any]:
    """Time `gather` from memory and from a mapped file, in turns so that noise meets both."""
    from trajrl.store.store import TrajectoryStore

    with options.file() as path, one_thread():
        stores = {memory: TrajectoryStore.open(path, memory) for memory in ("ram", "map")}
        anchors = options.anchors(stores["ram"], "gather")
        rounds: dict[str, list[float]] = {memory: [] for memory in stores}
        for _ in range(9):
            for memory, opened in stores.items():
                rounds[memory].append(milliseconds(opened, anchors, options.spec))
    ram, mapped = (sorted(rounds[memory]) for memory in ("ram", "map"))
    found = {
        "ram_ms": median(ram), "ram_best_ms": ram[0],
        "mapped_ms": median(mapped), "mapped_best_ms": mapped[0],
        "mapped_ratio": mapped[0] / ram[0], "windows_per_second": options.batch / median(ram) * 1e3,
        "limit_ms": LIMIT_MS, "limit_ratio": LIMIT_MAPPED,
        "transitions": options.transitions, "batch": options.batch, "history": options.history,
        "chunk": options.chunk, "obs_dim": options.obs_dim, "action_dim": options.action_dim,
    }  # fmt: skip
    # Other work on the machine only adds time: the best round is the one least disturbed.
    found["within_limits"] = ram[0] <= LIMIT_MS and mapped[0] <= LIMIT_MAPPED * ram[0]
    shape = f"H={options.history}, N={options.chunk}"
    say(f"{options.batch} windows, {shape}, of {options.transitions} transitions, one core")
    show_table(
        ("", "median", "best", "limit"),
        [
            ("from memory", f"{found['ram_ms']:.3f} ms", f"{ram[0]:.3f} ms", f"{LIMIT_MS} ms"),
            (
                "mapped and warm",
                f"{found['mapped_ms']:.3f} ms",
                f"{mapped[0]:.3f} ms",
                f"{LIMIT_MAPPED} times memory",
            ),
        ],
        numbers=("median", "best"),
    )
    return found


def store(options: BenchStore) -> dict[str, Any]:
    """Generate a store; time opening it in a fresh process, sampling it cold and warm, verifying it."""
    from trajrl.store.file.verify import verify
    from trajrl.store.store import TrajectoryStore

    with options.file() as path, one_thread():
        size = path.stat().st_size
        forget(path)
        opened = in_fresh_process(OPEN, path)
        forget(path)
        mapped = TrajectoryStore.open(path, "map")
        anchors = options.anchors(mapped, "store")
        cold = milliseconds(mapped, anchors, options.spec)
        read_through(path)
        before = process_time()
        warm = sorted(milliseconds(mapped, anchors, options.spec) for _ in range(5))
        warm_cpu = (process_time() - before) / 5 / len(anchors) * 1e3
        sampled = in_fresh_process(
            SAMPLE, path, options.batch, options.history, options.chunk, options.batches
        )
        started = perf_counter()
        findings = list(verify(path))
        rate = size / (perf_counter() - started)
    found = {
        "transitions": mapped.num_steps, "episodes": len(mapped), "obs_dim": mapped.obs_dim,
        "action_dim": mapped.action_dim, "bytes": size, **opened, "gather_cold_ms": cold,
        "gather_warm_ms": median(warm), "gather_warm_best_ms": warm[0],
        "gather_warm_cpu_ms": warm_cpu, **sampled, "verify_bytes_per_second": rate, "findings": len(findings),
    }  # fmt: skip
    show_table(("", ""), [(key, as_text(value)) for key, value in found.items()])
    return found


def milliseconds(store: TrajectoryStore, anchors: list[Anchors], spec: WindowSpec) -> float:
    """Return the mean time of one batch over a round of batches."""
    from trajrl.store.gather import gather

    started = perf_counter()
    for chosen in anchors:
        gather(store, chosen, spec)
    return (perf_counter() - started) / len(anchors) * 1e3


def median(ordered: list[float]) -> float:
    """Return the middle one of an odd number of sorted times."""
    return ordered[len(ordered) // 2]


OPEN = """
import json, sys
from time import perf_counter
from trajrl.cli.bench.generated import peak_megabytes
from trajrl.store.store import TrajectoryStore
started = perf_counter()
store = TrajectoryStore.open(sys.argv[1])
seconds = perf_counter() - started
print(json.dumps({
    "open_seconds": seconds, "mapped": not store.obs.base.flags.owndata,
    "open_peak_rss_mb": peak_megabytes(),
}))
"""


SAMPLE = """
import json, sys
from pathlib import Path
from trajrl.cli.bench.large import sampling
print(json.dumps(sampling(Path(sys.argv[1]), *map(int, sys.argv[2:]))))
"""


def in_fresh_process(code: str, path: Path, *words: object) -> dict[str, Any]:
    """Measure on the store in a process of its own, so that its peak of memory is known."""
    path = path.resolve()
    ended = subprocess.run(
        [sys.executable, "-c", code, str(path), *map(str, words)],
        cwd=PLACE,
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(ended.stdout)
    return found
