"""Settings: values read from words by the type of what they set.

agent.eta=2.0 sampler.clusters=8 seed=1     sorted by what they belong to: a part, or the run itself
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from trajrl.core import old_names
from trajrl.core.registry import unknown

PARTS = ("agent", "env", "goals", "sampler")  # whose options --set reaches under their own name


def convert(name: str, value: Any, like: Any) -> Any:
    """Read a value, perhaps a text from the command line, as the type of `like`."""
    if isinstance(value, str) and not isinstance(like, str):
        value = literal(value)
    if like is None or value is None:
        return value
    if isinstance(like, bool):
        fits = isinstance(value, bool)
    elif isinstance(like, int):
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(like, float):
        fits = isinstance(value, int | float) and not isinstance(value, bool) and value == value  # not NaN
        value = float(value) if fits else value
    elif isinstance(like, tuple):
        fits = isinstance(value, list | tuple)
        value = tuple(value) if fits else value
    else:
        fits = isinstance(value, type(like))
    if not fits:
        raise ValueError(f"{name} takes {kind_of(like)}; got {value!r}")
    return value


def literal(text: str) -> Any:
    """Read a number, true, false, null or a list from text; anything else stays text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        words = {"True": True, "False": False, "None": None}
        return words.get(text, text)


def split_settings(settings: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Sort `agent.eta=2.0 sampler.clusters=8 seed=1` by what they belong to: a part, or the run itself."""
    found: dict[str, dict[str, Any]] = {part: {} for part in (*PARTS, "run")}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise ValueError(f"--set takes NAME=VALUE, such as agent.eta=2.0; got '{setting}'")
        part, dot, rest = name.partition(".")
        if dot and part not in PARTS:
            raise ValueError(unknown("part to set", part, PARTS))
        own = rest if dot else name
        part = part if dot else "run"
        found[part][old_names.option(own) if part in ("run", "env") else own] = value
    return found


def options(kind: str, defaults: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return every field of a part's config dataclass as a plain dict, changed as asked and checked."""
    known = {f.name: getattr(defaults, f.name) for f in fields(defaults)}
    for name in changes:
        if name not in known:
            raise ValueError(unknown(f"{kind} option", name, known))
    read = {name: convert(f"{kind}.{name}", value, known[name]) for name, value in changes.items()}
    return {**known, **read}


def kind_of(like: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", tuple: "a list"}
    names[dict] = 'names and values as in {"length": 3}'
    return names.get(type(like), type(like).__name__)
