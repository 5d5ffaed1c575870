"""Where an error came from, if it came through a user's own code: an agent, sampler or environment."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from trajrl.core.paths import PACKAGE
from trajrl.core.source_place import short

INSTALLED = ("stdlib", "platstdlib", "purelib", "platlib")  # folders of Python's own and of other packages


def own_place(error: BaseException) -> tuple[str, int] | None:
    """Return file and line of the innermost call in code that is neither trajrl's nor installed."""
    paths = sysconfig.get_paths()
    foreign = [PACKAGE.resolve(), *(Path(paths[name]).resolve() for name in INSTALLED)]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename).resolve()
        if file.exists() and not any(file.is_relative_to(folder) for folder in foreign):
            return short(file), frame.lineno or 0
    return None
