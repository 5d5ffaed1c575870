"""Where a method is written: its class, and for a user's own also file and line."""

from __future__ import annotations

from pathlib import Path


def short(file: str | Path) -> str:
    """Return a path as seen from the working folder, where the file lies below it."""
    file, here = Path(file).resolve(), Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


def method_place(kind: type, name: str) -> str:
    """Return "Own.sample (own.py, line 12)"; of trajrl's own classes the name is enough."""
    method = getattr(kind, name, None)
    code = getattr(method, "__code__", None)
    if code is None or str(getattr(method, "__module__", "")).startswith("trajrl."):
        return f"{kind.__name__}.{name}"
    return f"{kind.__name__}.{name} ({short(code.co_filename)}, line {code.co_firstlineno})"
