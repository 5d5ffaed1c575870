"""Reading a JSON object that another hand may have written: what is wrong is one line that names the file.

Refused are pipes and devices, endless files and numbers, nesting past reason, and a name given twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

from trajrl.core.plain_file import open_to_read

MOST_BYTES = 1 << 24  # of a file
MOST_DIGITS = 64  # of a whole number


def read_object(path: Path) -> dict[str, Any]:
    """Return the object that a file holds."""
    return parse_object(path, read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a plain file of a reasonable size."""
    with open_to_read(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise ValueError(f"{path} has {size} bytes; at most {MOST_BYTES} are read")
        return file.read(MOST_BYTES)


def parse_object(path: Path, content: bytes) -> dict[str, Any]:
    """Read bytes of a file as one JSON object."""
    try:
        found = json.loads(content, object_pairs_hook=_once, parse_int=_bounded)
    except RecursionError:
        raise ValueError(f"{path} cannot be read: its JSON is nested too deeply") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are such
        raise ValueError(f"{path} cannot be read: it is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} cannot be read: it holds no object")
    return found


@contextmanager
def as_written(place: Path) -> Iterator[None]:
    """Name the file or folder that holds something else than trajrl writes there."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(
            f"{place} does not hold what trajrl writes there ({type(error).__name__}: {error})"
        ) from error
    except ValueError as error:
        if str(place) in str(error):
            raise
        raise ValueError(f"{place}: {error}") from error


def require_finite(name: str, value: Any) -> None:
    """Refuse NaN and infinity, however deep in a value; `name` says where it stands."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{name} must be a finite number; got {value}")
    if isinstance(value, dict):
        for key, inner in value.items():
            require_finite(f"{name}.{key}", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            require_finite(name, inner)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; a name given twice would hide one of its values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice}' is given twice")
    return found


def _bounded(digits: str) -> int:
    """Return a whole number that a field could hold."""
    if len(digits) > MOST_DIGITS or not -(2**63) <= int(digits) < 2**63:
        raise ValueError(f"the whole number {digits[:12]}... of {len(digits)} digits is too large")
    return int(digits)
