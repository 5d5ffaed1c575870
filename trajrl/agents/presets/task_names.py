"""Names of tasks as published tables have them, however they are spelled.

    d4rl:hopper-random-v2          hopper-random-v2
    minari:D4RL/pen/human-v2       pen-human-v2
    mujoco/hopper/medium-v0        hopper-medium-v0

A row says which version its numbers were made with; one of another version takes them too.  Settings that a
row gave carry its pattern as "run.published", so that a run can say what it took.
"""

from __future__ import annotations

import re
from fnmatch import fnmatch

SUITES = ("d4rl", "gymnasium", "minari", "ogbench", "robomimic")
MINARI = re.compile(r"[A-Za-z0-9]+/(.+)")  # namespace/task/data set
VERSION = re.compile(r"-v\d+$")
ROW = "run.published"


def task_name(env: str) -> str:
    """Return the name of an environment or data set without its suite and in the spelling of D4RL."""
    suite, _, rest = env.partition(":")
    name = rest if suite in SUITES else env
    found = MINARI.fullmatch(name)
    return found[1].replace("/", "-") if found and VERSION.search(name) else name


def fits(env: str, pattern: str) -> bool:
    """Say whether the pattern of a row stands for an environment, of whatever version."""
    name, version = task_name(env), VERSION.search(pattern)
    return fnmatch(VERSION.sub("", name) + version[0] if version else name, pattern)
