"""Inside `frozen()` nothing learns: losses are computed as in an update, and no weight and no average moves.

Optimiser.step and targets.follow look here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_frozen = False


@contextmanager
def frozen() -> Iterator[None]:
    """Keep every optimiser of this process from stepping, and every slow average where it is."""
    global _frozen
    before, _frozen = _frozen, True
    try:
        yield
    finally:
        _frozen = before


def is_frozen() -> bool:
    """Say whether weights and averages stay as they are."""
    return _frozen
