"""The data that the evidence is taken from, made here by commands: 200,000 transitions unless said otherwise.

X-medium               X is hopper, walker2d or halfcheetah (Gymnasium's -v4): what the medium policy did
X-medium-expert        half medium, half expert
X-expert25             25 % expert, 75 % medium
X-replay               40 % medium, 20 % medium under noise of 0.3, 20 % under 0.6, 20 % random: it stands for
                       what an agent met on its way to medium, which would take hours to record
X-expert10             10 % expert, 90 % medium
X-expert5              5 % expert, 95 % random
d4rl-hopper-medium-expert   half, half, in the original D4RL environment (`make legacy`)
hopper-skewed          the embedded store: 25 % expert, 75 % medium, 36,000 transitions
toy-rooms              what the toy makes itself
pointmaze-play         what OGBench's controller of point mazes did, `collect --recipe pointmaze-play`
cube-single-play       a million steps of OGBench's play with one cube, as its own set has, `collect --recipe`
cube-single-oracle     100,000 steps of OGBench's play oracle
cube-double-oracle     200,000 of them with two cubes
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRANSITIONS = 200_000
ROBOTS = {"hopper": "Hopper-v4", "walker2d": "Walker2d-v4", "halfcheetah": "HalfCheetah-v4"}
ENVS = {**ROBOTS, "d4rl-hopper": "d4rl:hopper-medium-expert-v2"}
TOY, MAZE, EMBEDDED = "toy-rooms", "pointmaze-play", "hopper-skewed"
RECIPES = {MAZE: TRANSITIONS, "cube-single-play": 1_000_000}  # and their transitions
ORACLES = {  # environment, transitions
    "cube-single-oracle": ("ogbench:cube-single-v0", 100_000),
    "cube-double-oracle": ("ogbench:cube-double-v0", TRANSITIONS),
}
HALF, QUARTER = {"medium": 0.5, "expert": 0.5}, {"expert": 0.25, "medium": 0.75}
REPLAY = {"medium": 0.4, "medium+0.3": 0.2, "medium+0.6": 0.2, "random": 0.2}  # + deviation of added noise
MIXTURES: dict[str, dict[str, float]] = {
    "d4rl-hopper-medium-expert": HALF,
    **{f"{robot}-medium-expert": HALF for robot in ROBOTS},
    **{f"{robot}-expert25": QUARTER for robot in ROBOTS},
    **{f"{robot}-expert10": {"expert": 0.1, "medium": 0.9} for robot in ROBOTS},
    **{f"{robot}-expert5": {"expert": 0.05, "random": 0.95} for robot in ROBOTS},
    **{f"{robot}-replay": REPLAY for robot in ROBOTS},
}
RECORDINGS = [f"{robot}-medium" for robot in ROBOTS]  # of one policy, as it was recorded


def can_be_had(name: str) -> bool:
    """Say whether what a mixture is recorded in is installed here."""
    return not name.startswith("d4rl-") or find_spec("mujoco_py") is not None


def made(name: str, out: Path, policies: Path) -> str:
    """Return what --data takes: a store, made unless it is there, or the name of a toy.

    One process makes data at a time, and what it was stopped at continues.
    """
    if name == TOY:
        return name.replace("-", ":")
    if name == EMBEDDED:
        return str(ROOT / "data" / f"{name}.h5")
    path = out / f"{name}.h5"
    if path.exists():
        return str(path)
    out.mkdir(parents=True, exist_ok=True)
    with alone(out / "data.lock"):
        if path.exists():
            return str(path)  # another process has made it meanwhile
        if name in RECIPES:
            collect(path, "--recipe", name, "--steps", str(RECIPES[name]))
        elif name in ORACLES:
            env, steps = ORACLES[name]
            collect(path, "--env", env, "--policy", "oracle", "--steps", str(steps))
        elif name in RECORDINGS:
            recorded(*name.rsplit("-", 1), out, policies)
        else:
            task = next(task for task in ENVS if name.startswith(task))
            levels = MIXTURES[name].items()
            parts = [f"{recorded(task, level, out, policies)}:{share}" for level, share in levels]
            call("store", "mix", *parts, "--transitions", str(TRANSITIONS), "--out", str(path))
    return str(path)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock on a folder or a file; wait where another process or thread holds it."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def recorded(task: str, level: str, out: Path, policies: Path) -> Path:
    """Return the store of one policy's episodes, recorded unless it is there."""
    path = out / f"{task}-{level}.h5"
    if not path.exists():
        skill, _, noise = level.partition("+")
        file = policies / f"{task.removeprefix('d4rl-')}-{skill}.npz"
        words = ["--policy", skill if skill == "random" else str(file), "--source", level]
        words += ["--noise", noise] if noise else []
        collect(path, "--env", ENVS[task], *words, "--steps", str(TRANSITIONS), "--envs", "10")
    return path


def collect(path: Path, *words: str) -> None:
    """Record episodes, or what is left of a recording that was stopped."""
    call("collect", "--resume-or-start", *words, "--out", str(path))


def call(*words: str) -> None:
    """Run a command of the project."""
    subprocess.run([sys.executable, "run.py", *words], cwd=ROOT, check=True)
