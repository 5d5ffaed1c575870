"""Steps of one environment of every suite under random actions, per second of processor time.

    python benchmarks/environments.py [NAME ...]         what is not installed is named and passed over

Processor time, not wall time: the figures hold on a machine that does something else beside.
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import version

import numpy as np

from trajrl import make_suite
from trajrl.core.rng import stream

SECONDS = 4.0  # of processor time for each
NAMES = (
    "Hopper-v4", "Hopper-v5", "HalfCheetah-v4", "Walker2d-v4", "Ant-v5", "PointMaze_UMaze-v3",
    "AntMaze_UMaze-v4", "AdroitHandDoor-v1", "FrankaKitchen-v1", "d4rl:hopper-medium-v2",
    "d4rl:halfcheetah-medium-v2", "d4rl:walker2d-medium-v2", "d4rl:ant-medium-v2", "d4rl:maze2d-umaze-v1",
    "d4rl:antmaze-umaze-v2", "ogbench:cube-single-play-singletask-v0", "ogbench:scene-play-singletask-v0",
    "ogbench:puzzle-3x3-play-singletask-v0", "ogbench:pointmaze-medium-navigate-singletask-v0",
    "ogbench:antmaze-medium-navigate-singletask-v0", "robomimic:Lift", "robomimic:PickPlaceCan",
    "robomimic:NutAssemblySquare", "robomimic:ToolHang", "robomimic:TwoArmTransport", "toy:rooms",
)  # fmt: skip


def measure(name: str) -> str:
    """Return one line of the table."""
    suite = make_suite(name)
    env, rng, steps = suite.make(0), stream(0, "bench"), 0
    env.reset(seed=0)
    env.step(np.zeros(suite.action_dim, np.float32))  # compiles what is compiled at the first step
    env.reset(seed=0)
    began = time.process_time()
    while (spent := time.process_time() - began) < SECONDS:
        _, _, terminated, truncated, _ = env.step(rng.uniform(-1, 1, suite.action_dim).astype(np.float32))
        steps += 1
        if terminated or truncated:
            env.reset()
    return f"{name:<50} obs {suite.obs_dim:>3}  act {suite.action_dim:>2}  {steps / spent:>8.0f} steps/s"


if __name__ == "__main__":
    print(", ".join(f"{part} {version(part)}" for part in ("gymnasium", "mujoco", "numpy")))
    for name in sys.argv[1:] or NAMES:
        try:
            print(measure(name), flush=True)
        except ValueError as error:
            print(f"{name:<50} {error}", flush=True)
