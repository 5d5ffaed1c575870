"""Where an error came from, if it came through a user's own code: an agent, sampler or environment."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from trajrl.core.paths import PACKAGE

INSTALLED = ("stdlib", "platstdlib", "purelib", "platlib")  # folders of Python's own and of other packages


def own_place(error: BaseException) -> tuple[str, int] | None:
    """Return file and line of the innermost call in code that is neither trajrl's nor installed."""
    paths = sysconfig.get_paths()
    foreign = [PACKAGE.resolve(), *(Path(paths[name]).resolve() for name in INSTALLED)]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename).resolve()
        if file.exists() and not any(file.is_relative_to(folder) for folder in foreign):
            return _short(file), frame.lineno or 0
    return None


def _short(file: Path) -> str:
    """Return a path as seen from the working folder, where the file lies below it."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)
