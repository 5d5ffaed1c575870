"""How the package speaks to a person: lines, and progress on anything that takes longer than two seconds."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
PLAIN_SECONDS = 2.0  # between two lines of progress, where there is no bar
_quiet = _silent = False
STEERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # all but tab and new line
STEERS_IN_JSON = re.compile(  # the same, as json.dumps escapes them
    r"(?<!\\)((?:\\\\)*)\\(u00(?:0[0-8b-f]|1[0-9a-f]|7f|[89][0-9a-f])|u202[a-e]|u206[6-9]|[bfr])"
)


def fresh_line() -> None:
    """Begin a new line on a terminal, which has just shown ^C, perhaps behind a progress bar."""
    if sys.stderr.isatty():
        print(file=sys.stderr, flush=True)


def say_interrupted() -> None:
    """Say on standard error, as while modules load, that Ctrl-C ended the program."""
    fresh_line()
    if not _silent:
        with printing("error"):
            print("interrupted", file=sys.stderr, flush=True)


class SilentExitError(SystemExit):
    """Ends one process of several, whose reason another one prints."""


def harmless(text: str) -> str:
    """Write what would steer a terminal or turn the order of letters as its number."""
    return STEERS.sub(lambda found: ascii(found.group())[1:-1], text)


def harmless_json(text: str) -> str:
    """Do the same to what json.dumps made: a reader gets the number of such a letter, not the letter."""
    return STEERS_IN_JSON.sub(r"\1\\\\\2", text)


def say(text: str = "") -> None:
    """Print a line for people; with --json it goes to standard error, so that the object stays last."""
    if not _silent:
        with printing("error" if _quiet else "output"):
            print(harmless(text), file=sys.stderr if _quiet else sys.stdout, flush=True)


class OutputError(OSError):
    """Standard output or error takes nothing more."""


@contextmanager
def printing(stream: str = "output") -> Iterator[None]:
    """Name the standard stream that cannot be written; where nobody reads any more that error stays."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"standard {stream} could not be written: {reason}") from error


def silence() -> None:
    """Say nothing more, and show no progress: another process of the same run speaks."""
    global _silent
    _silent = True
    logging.getLogger("trajrl").setLevel(logging.ERROR)


@contextmanager
def silenced() -> Iterator[None]:
    """Say nothing for a while: what would be said was said already."""
    global _silent
    before, _silent = _silent, True
    try:
        yield
    finally:
        _silent = before


def speak_to_stderr(quiet: bool) -> None:
    """Choose where `say` goes; the program calls this once."""
    global _quiet
    _quiet = quiet


def progress(
    items: Iterable[Item], what: str, total: int | None = None, unit: str = "", even: bool = True
) -> Iterator[Item]:
    """Yield the items behind a progress bar on a terminal, or behind a plain line every two seconds.

    Args:
        even: items take about the same time, so that the time left can be estimated.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    if _silent:
        yield from items
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console, what = Console(stderr=True), f"{harmless(what):<24}"
        left = [TimeRemainingColumn()] if even else []
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *left]
        with Progress(*columns, console=console, transient=True) as bar:
            yield from bar.track(items, total=total, description=what)
        return
    yield from _plain(items, what, total, unit, even)


def plain_progress(
    items: Iterable[Item], what: str, total: int | None = None, unit: str = ""
) -> Iterator[Item]:
    """Yield the items behind a plain line every two seconds, inside what may show a bar already."""
    return iter(items) if _silent else _plain(items, what, total, unit, True)


def _plain(items: Iterable[Item], what: str, total: int | None, unit: str, even: bool) -> Iterator[Item]:
    """Yield the items; after two seconds print where we are, at most every two seconds."""
    started = said = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - said >= PLAIN_SECONDS:
            said = now
            left = f", {(now - started) / count * (total - count):.0f} s left" if total and even else ""
            print(
                f"{harmless(what)}: {count}{f' of {total}' if total else ''} {unit}{left}".rstrip(),
                file=sys.stderr,
                flush=True,
            )
