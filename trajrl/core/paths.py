"""Where the files lie that come with the package: the demo store, the policies, and what is said of them.

In a checkout that is `data/` beside the package; an installed package carries a copy of it inside.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
PLACE = PACKAGE.parent  # where Python imports the package from
CHECKOUT = PLACE if (PLACE / "run.py").exists() else None  # None: installed


def shipped(package: Path) -> Path:
    """Return the folder of the files that come with a package."""
    inside = package / "data"
    return inside if inside.is_dir() else package.parent / "data"


DATA = shipped(PACKAGE)
DEMO_STORE = DATA / "hopper-skewed.h5"
POLICIES = DATA / "policies"
