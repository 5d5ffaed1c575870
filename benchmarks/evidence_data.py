"""The data that the evidence is taken from: mixtures of what two policies and random actions did, made here.

hopper-medium-expert   half, half              200,000 transitions
hopper-expert10        10 % expert, 90 % medium
hopper-expert5         5 % expert, 95 % random
hopper-expert25        25 % expert, 75 % medium
walker2d-expert25      the same on Walker2d
d4rl-hopper-medium-expert   half, half, in the original D4RL environment (`make legacy`)
toy-rooms              what the toy makes itself
cube-single-oracle     100,000 steps of OGBench's play oracle
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRANSITIONS = 200_000
ENVS = {
    "hopper": "Hopper-v4",
    "walker2d": "Walker2d-v4",
    "d4rl-hopper": "d4rl:hopper-medium-expert-v2",
}
TOY, ORACLE = "toy-rooms", "cube-single-oracle"
MIXTURES: dict[str, dict[str, float]] = {
    "hopper-medium-expert": {"medium": 0.5, "expert": 0.5},
    "hopper-expert10": {"expert": 0.1, "medium": 0.9},
    "hopper-expert5": {"expert": 0.05, "random": 0.95},
    "hopper-expert25": {"expert": 0.25, "medium": 0.75},
    "walker2d-expert25": {"expert": 0.25, "medium": 0.75},
    "d4rl-hopper-medium-expert": {"medium": 0.5, "expert": 0.5},
}


def can_be_had(name: str) -> bool:
    """Say whether what a mixture is recorded in is installed here."""
    return not name.startswith("d4rl-") or find_spec("mujoco_py") is not None


def made(name: str, out: Path, policies: Path) -> str:
    """Return what --data takes: the store of a mixture, made unless it is there, or the name of a toy."""
    if name == TOY:
        return name.replace("-", ":")
    path = out / f"{name}.h5"
    if name == ORACLE and not path.exists():
        words = ["--policy", "oracle", "--steps", "100000"]
        call("collect", "--env", "ogbench:cube-single-v0", *words, "--out", str(path))
    elif not path.exists():
        task = next(task for task in ENVS if name.startswith(task))
        parts = [f"{recorded(task, level, out, policies)}:{share}" for level, share in MIXTURES[name].items()]
        call("store", "mix", *parts, "--transitions", str(TRANSITIONS), "--out", str(path))
    return str(path)


def recorded(task: str, level: str, out: Path, policies: Path) -> Path:
    """Return the store of one policy's episodes, recorded unless it is there."""
    path = out / f"{task}-{level}.h5"
    if not path.exists():
        policy = (
            "random" if level == "random" else str(policies / f"{task.removeprefix('d4rl-')}-{level}.npz")
        )
        words = ["--policy", policy, "--source", level, "--steps", str(TRANSITIONS), "--envs", "10"]
        call("collect", "--env", ENVS[task], *words, "--out", str(path))
    return path


def call(*words: str) -> None:
    """Run a command of the project."""
    subprocess.run([sys.executable, "run.py", *words], cwd=ROOT, check=True)
