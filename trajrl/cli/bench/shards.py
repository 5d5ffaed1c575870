"""`bench store --shards N`: what drawing from N files costs beside drawing from one that holds the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from trajrl.cli.bench.generated import LENGTH, read_through
from trajrl.cli.bench.one_thread import one_thread
from trajrl.cli.common import say
from trajrl.cli.text_table import show_table

if TYPE_CHECKING:
    from trajrl.cli.bench.windows import Windows
    from trajrl.store.store import TrajectoryStore

LIMIT = 1.2  # times what one file takes
TURN = 10  # batches of one store before the other's


def shards(options: Windows, count: int) -> dict[str, Any]:
    """Time the same draws from one file and from shards, in turns so that noise meets both."""
    from trajrl.store.store import TrajectoryStore

    if count < 2 or options.transitions < count * LENGTH:
        most = max(2, options.transitions // LENGTH)
        raise ValueError(f"--shards is 2 to {most}, one episode of {LENGTH} steps or more each; got {count}")
    with options.file() as path, one_thread():
        parts = list(cut(path, count))
        found: dict[str, Any] = {"transitions": options.transitions, "shards": count}
        for memory in ("ram", "map"):
            seconds, stores = {}, {}
            for name, places in {"one": [path], "shards": parts}.items():
                started = perf_counter()
                stores[name] = TrajectoryStore.open(places, memory)
                seconds[name] = perf_counter() - started
            found |= {f"open_{name}_{memory}_seconds": value for name, value in seconds.items()}
            found |= compared(options, stores, memory)
    found["limit_ratio"] = LIMIT
    found["within_limits"] = all(found[f"{memory}_ratio"] <= LIMIT for memory in ("ram", "map"))
    show(options, found)
    return found


def compared(options: Windows, stores: dict[str, TrajectoryStore], memory: str) -> dict[str, float]:
    """Return the processor's time for a batch of each store, and the median of the ratios of all turns."""
    import numpy as np

    from trajrl.store.gather import gather

    anchors = options.anchors(stores["one"], "shards")
    rounds: dict[str, list[float]] = {name: [] for name in stores}
    for chosen in anchors:  # a page of a map costs more when it is read first
        for store in stores.values():
            gather(store, chosen, options.spec)
    for first in range(0, len(anchors), TURN):
        for name in sorted(stores, reverse=bool(first // TURN % 2)):
            before = process_time()
            for chosen in anchors[first : first + TURN]:
                gather(stores[name], chosen, options.spec)
            rounds[name].append((process_time() - before) / len(anchors[first : first + TURN]) * 1e3)
    found = {f"{name}_{memory}_cpu_ms": float(np.median(times)) for name, times in rounds.items()}
    pairs = np.array(rounds["shards"]) / np.array(rounds["one"])
    return found | {f"{memory}_ratio": float(np.median(pairs))}


def cut(path: Path, count: int) -> Iterator[Path]:
    """Write the episodes of a store to `count` files beside it, in order, and yield their names."""
    import numpy as np

    from trajrl.store.file.writer import StoreWriter
    from trajrl.store.store import TrajectoryStore

    whole = TrajectoryStore.open(path, "map")
    kept = {"environment": whole.attributes["environment"]}
    for number, ids in enumerate(np.array_split(whole.live, count)):
        part = path.with_name(f"shard-{number:05d}.h5")
        with StoreWriter(part, kept) as writer:
            for e in ids:
                writer.append(whole.episode(int(e)))
        read_through(part)
        yield part


def show(options: Windows, found: dict[str, Any]) -> None:
    """Print one row for each way of holding the data."""
    shape = f"{options.batch} windows, H={options.history}, N={options.chunk}"
    say(f"{shape}, of {options.transitions} transitions; the processor's time for one batch")
    rows = [
        (
            {"ram": "read into memory", "map": "mapped and warm"}[memory],
            *(f"{found[f'{name}_{memory}_cpu_ms']:.3f} ms" for name in ("one", "shards")),
            f"{found[f'{memory}_ratio']:.2f}",
            *(f"{found[f'open_{name}_{memory}_seconds']:.2f} s" for name in ("one", "shards")),
        )
        for memory in ("ram", "map")
    ]
    names = ("", "one file", f"{found['shards']} files", "ratio", "open one", f"open {found['shards']}")
    show_table(names, rows, numbers=names[1:])
