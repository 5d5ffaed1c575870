"""Episodes of an environment's own script, in order, by several processes where there are cores for them.

An episode is a function of (seed, number), so how many processes share the work changes nothing but the time.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from typing import TYPE_CHECKING, NamedTuple

from trajrl.envs import make_demonstration
from trajrl.envs.base.scripted import Demonstration, demonstrate
from trajrl.sweep.process import die_with_parent

if TYPE_CHECKING:
    from trajrl.store.episode import Episode

AHEAD = 2  # episodes that each process may be ahead of what was taken


class Asked(NamedTuple):
    """What every episode has in common."""

    env: str
    seed: int
    source: str
    noise: float
    epsilon: float


def episodes(asked: Asked, first: int, envs: int) -> Iterator[Episode]:
    """Yield the episodes from number `first` on, without end; as many processes as there are cores for."""
    workers = min(envs, len(os.sched_getaffinity(0)))
    if workers == 1:
        begin(asked.env)
        yield from (made(asked, number) for number in count(first))
    else:
        yield from _shared(asked, first, workers)


def _shared(asked: Asked, first: int, workers: int) -> Iterator[Episode]:
    """Yield the episodes as `workers` processes make them."""
    begin(asked.env)  # here too: a name that is wrong fails in one line
    pool = ProcessPoolExecutor(workers, get_context("spawn"), begin_worker, (asked.env,))
    waiting: deque[Future[Episode]] = deque()
    try:
        for number in count(first):
            waiting.append(pool.submit(made, asked, number))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


SHOWN: list[Demonstration] = []  # of this process


def begin(env: str) -> None:
    """Build the script of this process and its environment."""
    SHOWN[:] = [make_demonstration(env)]


def begin_worker(env: str) -> None:
    """Let a process end with the one that started it, and leave Ctrl-C to that one; then begin."""
    from trajrl.cli.common import speak_to_stderr

    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    speak_to_stderr(True)
    begin(env)


def made(asked: Asked, number: int) -> Episode:
    """Return one episode."""
    return demonstrate(SHOWN[0], asked.seed, number, asked.source, asked.noise, asked.epsilon)
