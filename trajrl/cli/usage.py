"""Wrong usage in one line: what tyro draws as a box, without the box."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO

from trajrl.cli.common import UsageError

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
SIDE, RULES = "\u2502 ", "-\u2500\u2570\u256f"  # what its frame is drawn of, also where the output is ASCII
DEEP = 8  # columns that the text of an option stands in, below its name
VALUE = re.compile(r"error parsing .*?: .*?'(.*?)'\]?.* Argument helptext: (\S+)(?:, \S+)* (\S+)")


@contextmanager
def in_one_line(called: str) -> Iterator[None]:
    """Raise as one line what tyro says of wrong usage; `called` is the program and its command."""
    drawn = StringIO()
    try:
        with redirect_stderr(drawn):
            yield
    except SystemExit as stop:
        if stop.code != 2:
            raise
        raise UsageError(f"{unboxed(drawn.getvalue())} ({called} --help shows the options)") from None
    sys.stderr.write(drawn.getvalue())


def unboxed(box: str) -> str:
    """Return the words in a box, without its heading and where it says that help is."""
    said, before = "", 0
    for line in COLOUR.sub("", box).splitlines()[1:]:
        inside = line[2:].rstrip(SIDE)
        words = inside.lstrip()
        if words.startswith("For full helptext"):
            break
        if words.strip(RULES):
            indent = len(inside) - len(words)
            link = ": " if indent >= DEEP > before else "; " if words.startswith("Perhaps") else " "
            said += link + words
            before = indent
    said = said.strip().replace(" (required)", "").replace("Perhaps you meant", "perhaps you meant")
    said = said[:1].lower() + said[1:]
    value = VALUE.match(said)
    return "{1} takes {2}; got '{0}'".format(*value.groups()) if value else said
