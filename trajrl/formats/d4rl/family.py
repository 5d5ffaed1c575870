"""Families of D4RL files, recognised by widths of observations and actions, else by a name: what flags mean.

locomotion     a terminal ends an episode
ant in a maze  the recording continues at the goal: terminals are marks; resets are jumps in position
point mass     a timeout marks a reached goal, there is no reset
hands          a timeout inside a demonstration is joined where the joints do not jump
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Family:
    """How one family of files is read."""

    name: str
    widths: tuple[tuple[int, int], ...] = ()  # (obs, actions)
    horizons: tuple[tuple[str, int], ...] = ()  # (part of the environment's name, steps): the first that fits
    terminals_end: bool = True  # False: terminals mark steps at the goal
    jump: float = 0.0  # distance in obs[:, :2] that only a reset can cover; 0: positions say nothing
    runs_on: bool = False  # no reset at a timeout: the following row is the last observation
    goals: bool = False  # the widths alone are too common: the file must also record goals, or be named so
    joins: str = ""  # column whose continuity shows that a timeout did not end a demonstration


FAMILIES = (
    Family("locomotion", ((11, 3), (17, 6), (111, 8), (27, 8)), (("", 1000),)),
    Family("antmaze", ((29, 8),), (("umaze", 700), ("", 1000)), terminals_end=False, jump=1.0),
    Family(
        "maze2d",
        ((4, 2),),
        (("umaze", 300), ("medium", 600), ("large", 800)),
        jump=0.5,
        runs_on=True,
        goals=True,
    ),
    Family("adroit", ((45, 24), (39, 28), (46, 26), (39, 30)), joins="qpos"),
    Family("kitchen", ((60, 9),), (("", 280),)),
)
OTHER = Family("other")


def family_of(widths: tuple[int, int], environment: str, goals: bool = False) -> Family:
    """Return the family with these widths; a name decides where no family has them.

    Args:
        goals: the file records a goal per step.
    """
    for family in FAMILIES:
        if widths in family.widths and (goals or not family.goals):
            return family
    return next((family for family in FAMILIES if family.name in environment.lower()), OTHER)


def horizon_of(family: Family, environment: str) -> int:
    """Return the number of steps after which the environment cut an episode; 0 where nothing says so."""
    return next((steps for part, steps in family.horizons if part in environment.lower()), 0)


@cache
def urls() -> dict[str, dict[str, str | int | None]]:
    """Return the published files: environment -> url and max_episode_steps, either may be None."""
    return json.loads((files("trajrl.formats") / "tables" / "d4rl_urls.json").read_text())


def environment_of(stem: str) -> str | None:
    """Return the environment whose published file has this stem; the shortest name where several share it."""
    fitting = [
        name for name, row in urls().items() if str(row["url"] or "").rpartition("/")[2] == f"{stem}.hdf5"
    ]
    return min(fitting, key=len, default=None)
