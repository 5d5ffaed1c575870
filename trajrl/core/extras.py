"""How a package that is not there gets installed.

The import is `trajrl`; the distribution has a name of its own, for on the public index that one is another's.
"""

from __future__ import annotations

from trajrl.core.paths import CHECKOUT

DISTRIBUTION = "trajrl-toolkit"


def install(extra: str = "") -> str:
    """Return the command that installs trajrl with an extra: its checkout, or the distribution by name."""
    asked = f"[{extra}]" if extra else ""
    words = f"-e '.{asked}'" if CHECKOUT else f"'{DISTRIBUTION}{asked}'"
    return f"pip install {words}"
