"""Options that are silent by default: their help shows what happens then, not a bare None."""

from typing import Any

import tyro


def silent(metavar: str, otherwise: str) -> Any:
    """Annotate an option that may be left out; `otherwise` says what holds then."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {otherwise})")
