"""The action box of foreign data, for `store import` and `store doctor`: given, or of an environment."""

from __future__ import annotations

import json
from typing import Any

from trajrl.cli.common import say

Bounds = tuple[tuple[float, ...], tuple[float, ...]]


def given_box(words: tuple[str, str] | None) -> Bounds | tuple[()]:
    """Read --action-box LOW HIGH: two numbers, or two lists such as [-1,-2] [1,2]."""
    if words is None:
        return ()
    low, high = (_numbers(word) for word in words)
    width = max(len(low), len(high))
    if {len(low), len(high)} - {1, width} or not all(
        a < b for a, b in zip(_wide(low, width), _wide(high, width))
    ):
        raise ValueError(f"--action-box takes LOW below HIGH in every dimension; got {' '.join(words)}")
    return low, high


def environment_box(name: str) -> Bounds | tuple[()]:
    """Return the action box of an environment; where it cannot be made, nothing, and a line says why."""
    from trajrl.envs import make_suite

    try:
        box = make_suite(name).action_box
    except (ValueError, ImportError, OSError) as error:
        say(f"{name} is recorded, and its action box is not known here: {error}")
        return ()
    return tuple(box.low.tolist()), tuple(box.high.tolist())


def _numbers(word: str) -> tuple[float, ...]:
    try:
        found: Any = json.loads(word)
        return tuple(float(value) for value in (found if isinstance(found, list) else [found]))
    except (json.JSONDecodeError, TypeError, ValueError) as error:
        raise ValueError(
            f"--action-box takes two numbers, or two lists such as [-1,-2] [1,2]; got '{word}'"
        ) from error


def _wide(bound: tuple[float, ...], width: int) -> tuple[float, ...]:
    return bound * width if len(bound) == 1 else bound
