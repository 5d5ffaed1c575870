"""Ctrl-C while modules load: one line and exit code 130, at once.

A KeyboardInterrupt there would end in a traceback, or in whatever error a library that is half loaded
makes of it.  There is nothing to save at that time.  Later it is raised as Python does.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

INTERRUPTED = 130  # exit code of a program that Ctrl-C ended


def leave_when_interrupted() -> None:
    """Let Ctrl-C end the program without a traceback; where it is ignored it stays so."""
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _raise):
        signal.signal(signal.SIGINT, _leave)


def raise_when_interrupted() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, except where a module is being loaded."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, _raise)


def _leave(number: int, frame: FrameType | None) -> None:
    with suppress(OSError, ValueError, RuntimeError):
        sys.stdout.flush()
    with suppress(OSError):
        os.write(2, b"\ninterrupted\n" if os.isatty(2) else b"interrupted\n")
    os._exit(INTERRUPTED)


def _raise(number: int, frame: FrameType | None) -> None:
    if _loads(frame):
        _leave(number, frame)
    signal.default_int_handler(number, frame)


def _loads(frame: FrameType | None) -> bool:
    """Say whether a frame runs on behalf of an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
