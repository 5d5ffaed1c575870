"""Finding: one thing the doctor saw."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

ERROR, WARNING, INFORMATION = "E", "W", "I"
NOTHING = "nothing"  # what --fix does about a thing only a person can decide


@dataclass(frozen=True)
class Finding:
    """One thing, counted, with its first place and what follows from it."""

    level: str  # E: do not train on this.  W: know this before training.  I: good to know
    name: str
    what: str  # a sentence that may stand behind the count
    effect: str  # what it does to learning
    fix: str = NOTHING  # what --fix would do, or what any import does already
    count: int = 1
    where: str = ""  # the first place: episode and step, or a row or name of the file
    fixed: bool = False  # a repaired store no longer has it

    def line(self) -> str:
        """Return one line for a person."""
        place = f" (first: {self.where})" if self.where else ""
        return f"{self.level}  {self.what}{place}\n   learning: {self.effect}\n   --fix: {self.fix}"

    def plain(self) -> dict[str, Any]:
        """Return the finding as plain values."""
        return asdict(self)
