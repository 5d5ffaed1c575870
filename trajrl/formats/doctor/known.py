"""What is known of published tasks and sets: if a task can end, its returns and ranges, a set's size."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from trajrl.formats.base.source import Source


@dataclass(frozen=True)
class Task:
    """One task; `pattern` is looked for in the environment's name, else in the source's."""

    pattern: str
    terminates: bool = True
    references: tuple[float, float] = (0.0, 0.0)  # returns of a random and an expert policy; equal: unknown
    columns: dict[str, list[float]] = field(default_factory=dict)  # observation column -> its possible range


def task_of(source: Source) -> Task | None:
    """Return what is known of the task of a source."""
    name = (source.environment or source.path.stem).lower()
    return next((task for task in tasks() if re.search(task.pattern, name)), None)


def size_of(source: Source) -> tuple[int, int] | None:
    """Return the published number of steps and episodes of a set, if it is a known one."""
    steps, episodes = _table()["sizes"].get(source.label, (0, 0))
    return (steps, episodes) if steps else None


def quality_of(source: Source) -> str:
    """Return the quality a name claims: medium, expert, human ...; empty if it claims none."""
    found = re.search(
        r"random|medium|expert|human|replay", f"{source.environment} {source.label} {source.path.stem}"
    )
    return found.group() if found else ""


@cache
def tasks() -> tuple[Task, ...]:
    """Return all known tasks; the first whose pattern fits is meant."""
    return tuple(
        Task(**{**row, "references": tuple(row.get("references", (0, 0)))}) for row in _table()["tasks"]
    )


@cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((files("trajrl.formats.doctor") / "known.json").read_text())
    return found
