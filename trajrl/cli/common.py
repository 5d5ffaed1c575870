"""What every command shares: its three options, and how it speaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajrl.speak import progress, say, speak_to_stderr

__all__ = ["Common", "progress", "refuse_existing", "say", "speak_to_stderr"]


@dataclass(frozen=True, kw_only=True)
class Common:
    """The options of every command."""

    seed: int = 0
    """Seed of every random stream."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""
    debug: bool = False
    """Show the traceback of a failure."""

    def run(self) -> dict[str, Any]:
        """Do the work and return what --json prints."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it does")


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Refuse to replace a file unless that was asked for."""
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists; choose another name or add --overwrite")
