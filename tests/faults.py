"""Faults on purpose: run a child, kill it (SIGKILL) at its n-th write or some time after its first one.

    run_and_kill(code, under=folder, after_writes=n)              dies as its n-th write would begin
    run_and_kill(code, under=folder, after_writes=n, torn=True)   dies with the n-th write half done
    run_and_kill([script, *args], under=folder, after_seconds=s)  dies s seconds after its first write
    run_to_end(code, under=folder)                                how many writes there are to die at
    Nursery(...).run(code, under=folder, room=n)                  its disk is full after n bytes

A kill that comes after the child's own end proves nothing: it raises KillMissedError.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

ROOT = Path(__file__).parents[1]
CHILD = Path(__file__).with_name("faults_child.py")
Program = str | list[str]  # Python code, or a script and its arguments


class KillMissedError(AssertionError):
    """The child ended by itself before the kill."""


@dataclass(frozen=True)
class Ended:
    """How a child ended."""

    killed: bool
    num_writes: int | None  # None: it was killed
    code: int
    output: str  # standard output and error together
    num_bytes: int | None = None  # that Python code wrote; None: it was killed


def limits_in(said: str) -> tuple[int | None, int | None]:
    """Read how many writes and bytes a child counted; None where it was killed."""
    found = said.partition("end ")[2].split()
    return (int(found[0]), int(found[1])) if found else (None, None)


def run_and_kill(
    program: Program,
    under: Path,
    *,
    after_writes: int | None = None,
    after_seconds: float | None = None,
    torn: bool = False,
    env: dict[str, str] | None = None,
    limit: float = 120.0,
) -> Ended:
    """Run the program and kill it once; returns only if the kill came before its end."""
    if (after_writes is None) == (after_seconds is None):
        raise ValueError("give after_writes or after_seconds")
    ended = _run(program, under, after_writes, after_seconds, torn, env, limit)
    if not ended.killed:
        raise KillMissedError(
            f"the child ended after {ended.num_writes} writes, before the kill:\n{ended.output}"
        )
    return ended


def run_to_end(
    program: Program, under: Path, env: dict[str, str] | None = None, limit: float = 120.0
) -> Ended:
    """Run the program undisturbed and count its writes; it must succeed."""
    ended = _run(program, under, None, None, False, env, limit)
    if ended.code:
        raise AssertionError(f"the child failed with code {ended.code}:\n{ended.output}")
    return ended


def random_kill(rng: np.random.Generator, writes: int, seconds: float) -> dict[str, Any]:
    """Choose how to kill: at a write, half way through one, or after a time."""
    if rng.integers(4) == 0:
        return {"after_seconds": float(rng.uniform(0, seconds))}
    return {"after_writes": int(rng.integers(1, writes + 1)), "torn": bool(rng.integers(2))}


class Nursery:
    """A process that has imported what its children need; each child is a fork of it, and starts at once."""

    def __init__(self, modules: str, log: Path) -> None:
        self.log = log
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        words = [sys.executable, str(CHILD), json.dumps({"nursery": modules})]
        self.process = subprocess.Popen(
            words, env=env, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def run(
        self,
        program: Program,
        under: Path,
        after_writes: int | None = None,
        after_seconds: float | None = None,
        torn: bool = False,
        room: int | None = None,
        limit: float = 240.0,
    ) -> Ended:
        """Run the program in a new child; kill it or fill its disk where asked, unless it ended before."""
        plan = {
            "under": os.path.abspath(under), "after_writes": after_writes, "after_seconds": after_seconds,
            "torn": torn, "room": room, "limit": limit, "log": str(self.log),
        }  # fmt: skip
        plan["code" if isinstance(program, str) else "argv"] = program
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(plan) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        said, code = answer["said"], answer["code"]
        num_writes, num_bytes = limits_in(said)
        killed = num_writes is None and code == -signal.SIGKILL
        return Ended(killed, num_writes, code, self.log.read_text(), num_bytes)

    def close(self) -> None:
        """End the process."""
        _kill_group(self.process)


def _run(program, under, after_writes, after_seconds, torn, env, limit) -> Ended:
    """Start the child, see to the timed kill, and read how it ended."""
    near, far = os.pipe()
    plan = {"under": os.path.abspath(under), "pipe": far, "after_writes": after_writes, "torn": torn}
    plan["code" if isinstance(program, str) else "argv"] = program
    variables = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    child = subprocess.Popen(
        [sys.executable, str(CHILD), json.dumps(plan)], env={**variables, **(env or {})}, pass_fds=[far],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    os.close(far)
    try:
        said = b""
        if after_seconds is not None:
            said = _first_word(near, limit)
        if after_seconds is not None and not said.startswith(b"end"):
            time.sleep(after_seconds)
            child.send_signal(signal.SIGKILL)
        output, _ = child.communicate(timeout=limit)
        said += _rest(near)
    finally:
        os.close(near)
        _kill_group(child)
    num_writes, num_bytes = limits_in(said.decode())
    killed = num_writes is None and child.returncode == -signal.SIGKILL
    return Ended(killed, num_writes, child.returncode, output, num_bytes)


def _first_word(pipe: int, limit: float) -> bytes:
    """Wait for the child's first write or its end."""
    if not select.select([pipe], [], [], limit)[0]:
        raise TimeoutError(f"the child wrote nothing and did not end within {limit:g} s")
    return os.read(pipe, 64)


def _rest(pipe: int) -> bytes:
    """Read what is left in a pipe whose writers are gone."""
    blocks = []
    while block := os.read(pipe, 4096):
        blocks.append(block)
    return b"".join(blocks)


def _kill_group(child: subprocess.Popen) -> None:
    """Kill the child and whatever it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
