"""Generated stores for benchmarks: random numbers in the shape of a locomotion task, streamed to disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from trajrl.cli.common import progress

if TYPE_CHECKING:
    from trajrl.store.episode import Episode

NONE: Mapping[str, int] = MappingProxyType({})
LENGTH, POOL = 1000, 32  # steps of an episode; different ones, written over and over


@contextmanager
def generated(
    transitions: int, seed: int, scratch: Path | None, obs_dim: int = 17, action_dim: int = 6
) -> Iterator[Path]:
    """Yield a store file of random episodes, streamed to disk; it is removed at the end."""
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="trajrl-bench-", dir=scratch) as folder:
        path = Path(folder) / "generated.h5"
        generate(path, transitions, seed, obs_dim, action_dim)
        yield path


def generate(
    path: Path, transitions: int, seed: int, obs_dim: int, action_dim: int, extras: Mapping[str, int] = NONE
) -> None:
    """Write a store of random episodes; each begins at a place of its own, so that no two are alike.

    Args:
        extras: further columns by name, with their widths, as an environment may relabel from
    """
    import numpy as np

    from trajrl.core.rng import stream
    from trajrl.store.file.writer import StoreWriter

    if transitions < LENGTH:
        raise ValueError(f"--transitions is at least {LENGTH}; got {transitions}")
    with StoreWriter(path, {"environment": "generated"}) as writer:
        pool, place = random_episodes(seed, obs_dim, action_dim, extras), stream(seed, "bench places")
        for e in progress(range(transitions // LENGTH), "generating", unit="episodes"):
            shift = place.standard_normal(obs_dim, np.float32)
            episode = pool[e % POOL]
            writer.append(replace(episode, obs=episode.obs + shift))


def random_episodes(
    seed: int, obs_dim: int, action_dim: int, extras: Mapping[str, int] = NONE
) -> list[Episode]:
    """Return a few episodes of random numbers."""
    import numpy as np

    from trajrl.core.rng import stream
    from trajrl.store.episode import Episode

    rng = stream(seed, "bench episodes")
    return [
        Episode(
            rng.standard_normal((LENGTH + 1, obs_dim), np.float32), rng.uniform(-1, 1, (LENGTH, action_dim)),
            rng.standard_normal(LENGTH, np.float32), e % 2 == 0,
            extras={name: rng.standard_normal((LENGTH, width), np.float32) for name, width in extras.items()},
        ) for e in range(POOL)
    ]  # fmt: skip


def forget(path: Path) -> None:
    """Drop a file's pages from memory, so that the next read comes from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_through(path: Path) -> None:
    """Read a file once, so that its pages are in memory."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def peak_megabytes() -> float:
    """Return the most memory this process has held; getrusage would count its parent's as well."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM: peak memory is known on Linux alone")
