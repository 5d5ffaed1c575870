"""How the program was called, so that what help and hints show can be typed as it stands."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from trajrl.core.paths import CHECKOUT


def program() -> str:
    """Return `python run.py`, `python -m trajrl` or `trajrl`, whichever was called."""
    return shlex.join(_known() or (["trajrl"] if CHECKOUT is None else ["python", "run.py"]))


def command_line() -> list[str]:
    """Return the words that began this process."""
    return [*(_known() or ["python", sys.argv[0]]), *sys.argv[1:]]


def _known() -> list[str]:
    """Return the words before the command; none where another program calls this one."""
    called = Path(sys.argv[0])
    if called.name == "run.py":
        return ["python", sys.argv[0]]
    if (called.parent.name, called.name) == ("trajrl", "__main__.py"):
        return ["python", "-m", "trajrl"]
    return ["trajrl"] if called.stem == "trajrl" else []
