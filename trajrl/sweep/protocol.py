"""A protocol: every task of a suite, for several seeds, learned offline and then online, evaluated alike.

    out/trials/TASK-sSEED-offline    and, from its last checkpoint,    out/trials/TASK-sSEED-online

Both are ordinary runs; whatever kills one, it continues from its latest checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trajrl.envs import find_kind
from trajrl.sweep.grid import Trial, trial_name
from trajrl.sweep.process import Engine, OnEnd, Resources

PHASES = ("offline", "online")


@dataclass(frozen=True)
class Pair:
    """The two runs of one task and seed."""

    task: int  # counted from 1
    environment: str
    seed: int
    offline: Trial
    online: Trial


def tasks_of(environment: str) -> tuple[str, ...]:
    """Return the full names of the tasks that an environment's name stands for."""
    kind, own = find_kind(environment)
    prefix = f"{kind.prefix}:" if environment != own else ""
    return tuple(prefix + task for task in kind.tasks(own))


def chosen_tasks(text: str, count: int) -> list[int]:
    """Read `1-5`, `2` or `1,3-4` as numbers of `count` tasks; empty: all of them."""
    found: list[int] = []
    for part in text.split(",") if text else ["1-" + str(count)]:
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdigit() and last.isdigit()):
            raise ValueError(f"--tasks takes numbers such as 2, 1-5 or 1,3; got '{text}'")
        found += range(int(first), int(last) + 1)
    wrong = [number for number in found if not 1 <= number <= count]
    if wrong or not found:
        there = "there is 1 task" if count == 1 else f"there are tasks 1 to {count}"
        raise ValueError(f"{there}; got --tasks {text}")
    return sorted(set(found))


def pairs(
    out: Path,
    tasks: dict[int, str],
    seeds: Sequence[int],
    settings: Mapping[str, Sequence[str]],
    trust: bool = False,
) -> list[Pair]:
    """Return the runs of every task for every seed, seeds varying first; settings are those of each phase."""
    found = []
    for seed in seeds:
        for number, environment in tasks.items():
            name = trial_name([("task", str(number))], seed)
            cell = (("task", str(number)),)
            before = out / "trials" / f"{name}-offline"
            words = {"offline": ("offline",), "online": ("online", "--from", str(before))}
            places = {phase: f"{name}-{phase}" for phase in PHASES}
            own = {
                phase: Trial(
                    place, out / "trials" / place, out / "logs" / f"{place}.txt",
                    (*((f"env={environment}",) if phase == "offline" else ()), *settings[phase]),
                    cell, seed, trust, words[phase],
                )
                for phase, place in places.items()
            }  # fmt: skip
            found.append(Pair(number, environment, seed, own["offline"], own["online"]))
    return found


def run(found: Sequence[Pair], engine: Engine, resources: Resources, on_end: OnEnd) -> None:
    """Run what has not finished: the offline runs, then the online ones that have something to begin from."""
    for phase in PHASES:
        due = [getattr(pair, phase) for pair in found if phase == "offline" or pair.offline.finished]
        if todo := [trial for trial in due if not trial.finished]:
            engine(todo, resources, on_end)
