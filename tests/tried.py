"""What the faults and the fuzz tried: a line each, in the file that the variable TRIED names if it is set."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]


def note(count: int, what: str, lost: int = 0) -> None:
    """Note what was tried, how often, and what of it was lost."""
    place = os.environ.get("TRIED")
    if place:
        with (ROOT / place).open("a") as file:  # some tests work in another folder
            file.write(f"{count:6d}  {what}; lost: {lost or 'nothing'}\n")
