"""Reading with patience: a range is asked for again when the line breaks, a few times, then said so."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from trajrl.core.console import say
from trajrl.store.remote.source import ChangedError, Source, Version

Answer = TypeVar("Answer")
PAUSES = (0.1, 0.5, 2.0)  # seconds before another attempt
TRY_SECONDS = 60.0  # for one attempt
READ_SECONDS = 120.0  # for all attempts at one range
QUIET_SECONDS = 5.0  # of waiting, before it is said
BETWEEN_SECONDS = 10.0  # two such lines of one address


def read_again(source: Source, start: int, stop: int, version: Version) -> bytes:
    """Return bytes [start, stop) of a version."""
    return _patiently(source.url, lambda seconds: source.read(start, stop, version, seconds))


def look_again(source: Source) -> Version:
    """Return what a file is now."""
    return _patiently(source.url, source.look)


def _patiently(url: str, attempt: Callable[[float], Answer]) -> Answer:
    """Return what an attempt gives, after as many as there are pauses, and one, or as the time allows.

    Args:
        attempt: takes how many seconds it has
    """
    began, tries = time.monotonic(), len(PAUSES) + 1
    for number, pause in enumerate((*PAUSES, READ_SECONDS), 1):
        try:
            return attempt(min(TRY_SECONDS, began + READ_SECONDS - time.monotonic()))
        except (FileNotFoundError, PermissionError, ChangedError):
            raise
        except OSError as error:
            waited = time.monotonic() - began
            if waited + pause >= READ_SECONDS:
                raise OSError(f"{error}; tried {number} times in {waited:.0f} s") from error
            if waited >= QUIET_SECONDS:
                WAITING.tell(url, f"{error}; {waited:.0f} s so far, now try {number + 1} of {tries}")
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


class Waiting:
    """Says what is waited for, once for all the requests that wait for one address."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._told: dict[str, float] = {}

    def tell(self, url: str, line: str) -> None:
        """Say a line, unless one was said of this address just before."""
        with self._lock:
            now = time.monotonic()
            if now - self._told.get(url, -BETWEEN_SECONDS) < BETWEEN_SECONDS:
                return
            self._told[url] = now
        say(line)


WAITING = Waiting()
