"""What every command shares: its three options, and how it speaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from trajrl.core.console import progress, say, speak_to_stderr
from trajrl.core.out_paths import refuse_existing
from trajrl.store.remote.addresses import require_near

__all__ = ["Common", "progress", "refuse_existing", "say", "speak_to_stderr"]


class UsageError(ValueError):
    """Wrong usage of a command: exit code 2."""


@dataclass(frozen=True, kw_only=True)
class Common:
    """The options of every command."""

    seed: int = 0
    """Seed of every random stream."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""
    debug: bool = False
    """Show the traceback of a failure."""
    trust: bool = False
    """Import and call what a run or data of unknown origin names as module:attr; see docs/security.md."""

    COUNTS: ClassVar[tuple[str, ...]] = ()  # options that are numbers of something, or several such

    def check(self) -> None:
        """Refuse numbers that cannot be, by the name of their option, and addresses for paths."""
        if (self.seed or 0) < 0:
            raise ValueError(f"--seed must not be negative; got {self.seed}")
        for value in vars(self).values():
            if isinstance(value, Path):
                require_near(value)
        for name in self.COUNTS:
            value = getattr(self, name)
            least = min(value, default=0) if isinstance(value, tuple) else value
            if least < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1; got {least}")

    def run(self) -> dict[str, Any]:
        """Do the work and return what --json prints."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it does")
