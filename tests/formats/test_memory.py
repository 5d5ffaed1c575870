"""Importing takes the same memory whatever the size of the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import foreign
import h5py
import numpy as np
import pytest

ROWS, WIDTH, LENGTH = 200_000, 250, 1000  # 200 MB of observations
LIMIT_MIB = 120  # above what the libraries take

IMPORT = """
import resource, sys
import h5py, numpy
from pathlib import Path
from trajrl.formats import import_source, open_source
import trajrl.formats.d4rl.reader, trajrl.formats.ogbench.reader, trajrl.store.file.writer
import trajrl.formats.lerobot.reader, trajrl.formats.zarr.reader

def peak():
    lines = open("/proc/self/status")
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024

before = peak()
found = import_source(open_source(sys.argv[1]), Path(sys.argv[2]))
print(found["episodes"], found["transitions"], peak() - before)
"""


def d4rl(path: Path) -> None:
    """Write a D4RL file of 200 MB, one episode at a time."""
    with h5py.File(path, "w") as file:
        obs = file.create_dataset("observations", (ROWS, WIDTH), np.float32)
        block = np.arange(LENGTH * WIDTH, dtype=np.float32).reshape(LENGTH, WIDTH)
        for start in range(0, ROWS, LENGTH):
            obs[start : start + LENGTH] = block + start
        file["actions"] = np.zeros((ROWS, 2), np.float32)
        file["rewards"] = np.zeros(ROWS, np.float32)
        file["terminals"] = np.zeros(ROWS, bool)
        file["timeouts"] = np.arange(ROWS) % LENGTH == LENGTH - 1


def ogbench(path: Path) -> None:
    """Write an OGBench file of 200 MB."""
    ends = np.arange(ROWS) % LENGTH == LENGTH - 1
    obs = np.zeros((ROWS, WIDTH), np.float32)
    np.savez(path, observations=obs, actions=np.zeros((ROWS, 2), np.float32), terminals=ends)


def lerobot(path: Path) -> None:
    """Write a LeRobot set of 200 MB whose frames are one row group."""
    number, frame = np.divmod(np.arange(ROWS), LENGTH)
    obs = foreign.normal("obs", ROWS, WIDTH)
    arrays = {
        "observation.state": obs, "action": np.zeros((ROWS, 2), np.float32), "frame_index": frame,
        "next.reward": np.zeros(ROWS, np.float32), "episode_index": number,
    }  # fmt: skip
    foreign.lerobot_set(path, arrays)


def zarr(path: Path) -> None:
    """Write a replay buffer of 200 MB."""
    obs = np.zeros((ROWS, WIDTH), np.float32)
    ends = np.arange(LENGTH, ROWS + 1, LENGTH)
    arrays = {"data/state": obs, "data/action": np.zeros((ROWS, 2), np.float32), "meta/episode_ends": ends}
    foreign.zarr_store(path, arrays, None, rows=500)


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (d4rl, "x.hdf5"),
        pytest.param(ogbench, "x.npz", marks=slow),
        pytest.param(lerobot, "x", marks=slow),
        pytest.param(zarr, "x.zarr", marks=slow),
    ],
)
def test_import_of_200_megabytes_takes_constant_memory(make, name, tmp_path):
    make(tmp_path / name)
    files = [file for file in (tmp_path / name, *(tmp_path / name).rglob("*")) if file.is_file()]
    assert sum(file.stat().st_size for file in files) > 200e6
    command = [sys.executable, "-c", IMPORT, str(tmp_path / name), str(tmp_path / "out.h5")]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    episodes, transitions, used_mib = map(int, ended.stdout.split())
    assert (episodes, transitions) == (200, 199_800)
    assert used_mib < LIMIT_MIB, f"{used_mib} MiB"
