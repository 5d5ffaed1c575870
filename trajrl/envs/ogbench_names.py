"""The names of OGBench's tasks: what environment and what data each stands for.

cube-double-play-singletask-task2-v0 is a task; its data cube-double-play-v0, its environment
cube-double-singletask-task2-v0.
"""

from __future__ import annotations

import re
from typing import NamedTuple

DATASETS = ("-play", "-noisy", "-navigate", "-stitch", "-explore")
VISUAL = "visual-"  # begins the names of environments that show images


class Name(NamedTuple):
    """Of cube-double-play-singletask-task2-v0: the environment has no play, the data no singletask-task2."""

    environment: str
    dataset: str
    single_task: bool


def parse(name: str) -> Name:
    """Split a published name; without 'singletask' it is goal-conditioned."""
    words = name.split("-")
    if words[0] == "powderworld" or "oraclerep" in words:
        raise ValueError(f"ogbench:{name} has discrete actions or goal representations, which no agent takes")
    if "singletask" not in words:
        return Name(without_dataset(name), name, False)
    place = words.index("singletask")
    family, task = "-".join(words[:place]), "-".join(words[place:])
    dataset = f"{family}{usual(family)}-{words[-1]}"
    return Name(f"{family.removesuffix(kind_of(family))}-{task}", dataset, True)


def kind_of(family: str) -> str:
    """Return the kind of data that a name ends with, such as -play; empty where it names none."""
    return next((kind for kind in DATASETS if family.endswith(kind)), "")


def usual(family: str) -> str:
    """Return the kind of data to add to a name that names none."""
    if kind_of(family):
        return ""
    return "-navigate" if walks(family) else "-play"


def walks(family: str) -> bool:
    """Distinguish what moves itself from what handles objects."""
    return bool(re.search("maze|soccer", family))


def without_dataset(name: str) -> str:
    """Return the environment that a goal-conditioned name belongs to."""
    family, dash, version = name.rpartition("-")
    return f"{family.removesuffix(kind_of(family))}{dash}{version}"


def single_task(name: str) -> str:
    """Return the default task of a goal-conditioned environment or of a data set's name."""
    family, _, version = name.rpartition("-")
    return f"{family}{usual(family)}-singletask-{version}"


def recorded(name: str) -> tuple[str, ...]:
    """Return what collected data must keep so that it can be relabelled for any task."""
    buttons = name.removeprefix(VISUAL).startswith(("scene", "puzzle"))
    return ("qpos", "qvel", "button_states") if buttons else ("qpos", "qvel")
