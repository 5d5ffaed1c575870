"""Values of a question: numbers, flags (yes or no) or texts, one for each episode, each known or not.

    episode  length  return  success  terminated  truncated  source  phase      and the table's own columns

A success that nobody noted, a NaN and an episode without a cluster are not known, rather than no.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trajrl.store.table import PHASES

if TYPE_CHECKING:
    from trajrl.store.table import Table

NUMBER, FLAG, TEXT = "number", "flag", "text"
CLUSTER = "cluster"


class Values(NamedTuple):
    """One value for each episode, or one for all of them."""

    kind: str  # number | flag | text
    values: np.ndarray  # (E,) or (): float64, bool or object
    known: np.ndarray  # (E,) or (): bool

    @classmethod
    def of(cls, values: Any, known: Any = True) -> Values:
        """Take numbers, flags or texts; what is not finite is not known."""
        found = np.asarray(values)
        if found.dtype.kind == "b":
            return cls(FLAG, found, np.asarray(known) & np.ones(found.shape, bool))
        if found.dtype.kind in "iuf":
            numbers = found.astype(np.float64)
            return cls(NUMBER, numbers, np.asarray(known) & np.isfinite(numbers))
        return cls(TEXT, found.astype(object), np.asarray(known) & np.ones(found.shape, bool))


def both(left: Values, right: Values) -> Values:
    """Return the flag that is yes where both are; a no of one decides."""
    no = (left.known & ~left.values) | (right.known & ~right.values)
    return Values(FLAG, left.values & right.values & ~no, (left.known & right.known) | no)


def either(left: Values, right: Values) -> Values:
    """Return the flag that is yes where one is; a yes of one decides."""
    yes = (left.known & left.values) | (right.known & right.values)
    return Values(FLAG, yes, (left.known & right.known) | yes)


BUILT_IN: dict[str, Callable[[Table], Values]] = {
    "episode": lambda table: Values.of(np.arange(len(table))),
    "length": lambda table: Values.of(table.length),
    "phase": lambda table: Values.of(np.array(PHASES, object)[table.phase]),
    "return": lambda table: Values.of(table.returns),
    "returns": lambda table: Values.of(table.returns),
    "source": lambda table: Values.of(table.source),
    "success": lambda table: Values.of(table.success == 1, table.success >= 0),
    "terminated": lambda table: Values.of(table.terminated),
    "truncated": lambda table: Values.of(~table.terminated),
}


def names_of(table: Table) -> list[str]:
    """Return the names that a question may ask for."""
    return [*BUILT_IN, *(name for name in table.extra_names if name not in BUILT_IN)]


def column_of(table: Table, name: str) -> Values:
    """Return a column by a name among `names_of`."""
    if name in BUILT_IN:
        return BUILT_IN[name](table)
    own = getattr(table, name)
    return Values.of(own, own >= 0) if name == CLUSTER else Values.of(own)
