"""Which names of the form module:attr may be called: a run directory or a data file must not decide that.

    typed      given on this command line
    marked     named by a run that this user's trajrl wrote, where it lies, and that nobody changed since
    trusted    all, under --trust

A program that calls make_suite, make_agent or make_sampler types its names itself, so there they all count;
what it reads from a run or from data is held to the same rule.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path

TYPED = (
    "agent",
    "env",
    "format",
    "grid",
    "metric",
    "offline_sampler",
    "reward",
    "sampler",
    "set",
)  # options of names


@dataclass
class Known:
    """The names that may be called."""

    names: set[str] = field(default_factory=set)
    everything: bool = False  # --trust
    strict: bool = False  # a command line: names that reach a factory are held to the rule too


_known = [Known()]  # the last is in force


@contextmanager
def command_line(command: object) -> Iterator[None]:
    """Hold what runs inside to the names that a parsed command was given."""
    _known.append(Known(typed(command), bool(getattr(command, "trust", False)), strict=True))
    if _known[-1].names or _known[-1].everything:
        find_own_modules()
    try:
        yield
    finally:
        _known.pop()


def is_call(name: str, suites: Container[str] = ()) -> bool:
    """Say whether a name would import a module: any with a colon, but of a known suite.

    Whoever looks names up and whoever vets a file ask here: what one would import the other refuses.
    """
    before, colon, _ = name.partition(":")
    return bool(colon) and before not in suites


def typed(command: object) -> set[str]:
    """Return the names among the options of a parsed command."""
    assert is_dataclass(command)
    texts: list[str] = []
    for one in fields(command):
        value = getattr(command, one.name)
        if one.name in TYPED and value:
            texts += [value] if isinstance(value, str) else [str(part) for part in value]
    return {name for text in texts for name in (text, *re.split(r"[=*,\s\"\[\]{}]+", text)) if is_call(name)}


def allow(names: Iterable[str]) -> None:
    """Let names be called."""
    _known[-1].names.update(found := set(names))
    if found and _known[-1].strict:
        find_own_modules()


def find_own_modules() -> None:
    """Look for a user's modules in the working folder too, behind everything that is installed.

    Only where a name may be called: a folder from strangers is no place to import from.
    """
    here = str(Path.cwd())
    sys.path += [] if here in sys.path else [here]


def allowed(name: str) -> bool:
    """Say whether a name may be called wherever it came from."""
    return _known[-1].everything or name in _known[-1].names


def require(name: str, kind: str) -> None:
    """Refuse, on a command line, a name that is about to be called and that nobody typed."""
    if _known[-1].strict and not allowed(name):
        raise ValueError(refusal(name, kind, "a file"))


def require_read(name: str, kind: str, file: object) -> None:
    """Refuse a name that was read from a file."""
    if not allowed(name):
        raise ValueError(refusal(name, kind, str(file)))


def refusal(name: str, kind: str, file: str) -> str:
    """Say what would have been called, and what to do."""
    module, _, attribute = name.partition(":")
    called = f"call {attribute} of" if attribute else "import"
    return (
        f"{file} names the {kind} '{name}', which would {called} the Python module {module or '(no name)'}; "
        f"it was not called.  If you know where that comes from, type the name yourself or give --trust"
    )
