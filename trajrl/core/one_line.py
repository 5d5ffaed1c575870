"""What objects print of themselves: one line, of what they are made of."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any


def one_line(name: object, *parts: str) -> str:
    """Return `Name(part, part)`; the name is that of an object's class."""
    return f"{type(name).__name__}({', '.join(part for part in parts if part)})"


def changed(config: Any) -> list[str]:
    """Return the fields of a dataclass that are not as they are by default: `eta=2.0`."""
    found = []
    for field in fields(config):
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if (value := getattr(config, field.name)) != default:
            found.append(f"{field.name}={value!r}")
    return found


def shaped(name: str, array: Any) -> str:
    """Return `obs (256, 8, 11)`; of what is no array its type."""
    shape = getattr(array, "shape", None)
    return f"{name} {type(array).__name__ if shape is None else tuple(shape)}"
