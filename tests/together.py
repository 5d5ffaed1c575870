"""Several processes in a test: run a function of the test's own file in each, as torchrun would.

together(2, "test_team:learn", folder, name)    calls learn(team, folder, name) in two processes
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = """
import importlib, sys
import torch
torch.set_num_threads(1)
from trajrl.core.distributed import from_environment, joined
module, name = sys.argv[1].split(":")
with joined(from_environment()) as team:
    getattr(importlib.import_module(module), name)(team, *sys.argv[2:])
"""


def variables(rank: int, size: int, port: int) -> dict[str, str]:
    """Return the environment that torchrun gives a process."""
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "agents")))
    return {
        **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1", "PYTHONPATH": paths,
    }  # fmt: skip


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(size: int, words: list[str], place: Path = ROOT) -> list[subprocess.Popen]:
    """Start one process per rank, in the folder `place`."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, *words], env=variables(rank, size, port), cwd=place, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) for rank in range(size)
    ]  # fmt: skip


def together(size: int, target: str, *words: object, limit: float = 240.0) -> list[str]:
    """Run a function in every process; returns what each printed."""
    return ended(start(size, ["-c", CODE, target, *map(str, words)]), limit)


def ended(
    processes: list[subprocess.Popen], limit: float = 240.0, codes: tuple[int, ...] = (0,)
) -> list[str]:
    """Wait for all of them; returns what each printed, errors first."""
    try:
        said = [process.communicate(timeout=limit) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (out, error) in zip(processes, said):
        assert process.returncode in codes, out + error
    return [error + out for out, error in said]
