"""Reading with patience: a range is asked for again when the line breaks, a few times, then said so."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from trajrl.store.remote.source import ChangedError, Source, Version

Answer = TypeVar("Answer")
PAUSES = (0.1, 0.5, 2.0)  # seconds before another attempt


def read_again(source: Source, start: int, stop: int, version: Version) -> bytes:
    """Return bytes [start, stop) of a version."""
    return _patiently(lambda: source.read(start, stop, version))


def look_again(source: Source) -> Version:
    """Return what a file is now."""
    return _patiently(source.look)


def _patiently(attempt: Callable[[], Answer]) -> Answer:
    """Return what an attempt gives, after as many as there are pauses, and one."""
    for pause in (*PAUSES, None):
        try:
            return attempt()
        except (FileNotFoundError, PermissionError, ChangedError):
            raise
        except OSError as error:
            if pause is None:
                raise OSError(f"{error}; tried {len(PAUSES) + 1} times") from error
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")
