"""Published numbers beside ours: the mean after the offline phase and after the online one, as shares.

published.csv has a row a task (`all`: the mean over a suite's tasks) and method, with its source.  Its phases
have a million updates, then a million environment steps; its offline column was read 100,000 updates earlier.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

USUAL = "paper"  # the preset whose row stands beside a preset that has none


class Published(NamedTuple):
    """What a paper reports of a method on a task, or on all of a suite's."""

    method: str
    offline: float  # NaN: the method has no offline phase
    online: float
    source: str


@cache
def table() -> pd.DataFrame:
    """Return all of them."""
    import pandas as pd

    with files("trajrl.sweep").joinpath("published.csv").open() as file:
        return pd.read_csv(file, dtype={"task": str})


def published(environment: str, agent: str, preset: str) -> dict[str, Published]:
    """Return what is known of an agent, under its preset or the usual one, by task; mostly nothing.

    Args:
        environment: as it was asked for: ogbench:cube-double, or ogbench:cube-double-play-v0
    """
    known = table()
    known = known[known["agent"] == agent]
    names = [name for name in known["environment"].unique() if (environment + "-").startswith(name + "-")]
    own = known[(known["environment"] == max(names, key=len))] if names else known[:0]
    wanted = preset if (own["preset"] == preset).any() else USUAL
    return {
        str(row.task): Published(str(row.method), float(row.offline), float(row.online), str(row.source))
        for row in own[own["preset"] == wanted].itertuples()
    }
