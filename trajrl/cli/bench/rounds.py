"""Rounds: what is compared runs in turns, so that whatever else the machine does meets all of it alike.

A ratio is the median over rounds of the ratio within a round.  Seconds of the clock stand beside seconds of
the processor: on a shared machine with one thread the latter hardly depend on the neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from statistics import median
from typing import NamedTuple, TypeVar

from trajrl.cli.common import progress

Found = TypeVar("Found")


class Pace(NamedTuple):
    """Seconds per call, one number per round."""

    wall: list[float]
    cpu: list[float]  # of all threads of this process


def rounds(
    contestants: Mapping[str, Callable[[], object]],
    count: int,
    calls: int,
    wait: Callable[[], object] = lambda: None,
) -> dict[str, Pace]:
    """Time `calls` calls of every contestant in turn, `count` times, after two calls that do not count.

    Args:
        wait: ends when the device has done what was asked of it.
    """
    for call in contestants.values():
        call(), call(), wait()
    found = {name: Pace([], []) for name in contestants}
    for _ in progress(range(count), "rounds"):
        for name, call in contestants.items():
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(calls):
                call()
            wait()
            found[name].wall.append((time.perf_counter() - wall) / calls)
            found[name].cpu.append((time.process_time() - cpu) / calls)
    return found


def per_second(seconds: list[float]) -> float:
    """Return calls per second, the median over the rounds."""
    return 1 / median(seconds)


def ratio(slower: list[float], faster: list[float]) -> float:
    """Return how many times as long the first takes as the second, the median over the rounds."""
    return median(one / other for one, other in zip(slower, faster, strict=True))


def with_kernels(work: Callable[[], Found], fast: bool = False) -> Callable[[], Found]:
    """Return a function's work under --set kernels=compiled, or with `fast` under --matmul fast too."""
    from trajrl.core.products import rounded
    from trajrl.nets.activation import use_kernel

    def found() -> Found:
        use_kernel(True)
        try:
            with rounded() if fast else nullcontext():
                return work()
        finally:
            use_kernel(False)

    return found
