"""One trial in a process of its own: `offline --resume-or-start`, or what its words say: from its latest
checkpoint, if any.

The process dies with the one that started it, so that a sweep that was killed leaves nothing running.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trajrl.core.paths import CHECKOUT
from trajrl.core.plain_file import open_to_write, read_text
from trajrl.sweep.grid import Trial

ATTEMPT = "--- attempt"
DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True)
class Resources:
    """What an engine may use."""

    cpus: int = 1  # of a trial, which are its threads
    gpus: float = 0.0  # of a trial; 0.5: two share one
    workers: int = 0  # trials at a time; 0: as many as fit
    retries: int = 3  # of a trial that was killed
    address: str = ""  # of a cluster


class OnEnd(Protocol):
    """What an engine calls when a trial has ended: its exit code, negative where it was killed."""

    def __call__(self, trial: Trial, code: int, /) -> None: ...


class Engine(Protocol):
    """Runs trials to their ends, each in a process of its own, and again if it was killed."""

    def __call__(self, trials: Sequence[Trial], resources: Resources, on_end: OnEnd, /) -> None: ...


def command(trial: Trial) -> list[str]:
    """Return the words that run a trial, or continue it."""
    words = [sys.executable, "-m", "trajrl", *trial.words, "--resume-or-start", "--out", str(trial.folder)]
    words += ["--trust"] if trial.trust else []
    words += ["--seeds", str(trial.seeds)] if trial.seeds > 1 else []
    return [*words, "--seed", str(trial.seed), "--set", *trial.settings]


def start(
    trial: Trial, cpus: int, visible_gpus: str | None = None, place: str | None = None
) -> subprocess.Popen[bytes]:
    """Start a trial's process in the folder `place`; what it prints goes to the end of its log."""
    trial.log.parent.mkdir(parents=True, exist_ok=True)
    trial.folder.parent.mkdir(parents=True, exist_ok=True)
    paths = [str(CHECKOUT or ""), os.environ.get("PYTHONPATH", "")]
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": str(cpus),
    }
    if visible_gpus is not None:
        variables["CUDA_VISIBLE_DEVICES"] = visible_gpus
    with open_to_write(trial.log, "append") as log:
        log.write(f"{ATTEMPT} {attempts(trial) + 1} ---\n".encode())
        log.flush()
        return subprocess.Popen(
            command(trial), env=variables, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            cwd=place, start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip


def die_with_parent() -> None:
    """Ask the system to kill this process when the thread that started it ends (Linux), and hear Ctrl-C.

    Workers of Ray block that signal, and a process inherits what its parent blocks.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(DEATH_SIGNAL, signal.SIGKILL)


def attempts(trial: Trial) -> int:
    """Return how often a trial was started."""
    return sum(line.startswith(ATTEMPT) for line in said(trial))


def reason(trial: Trial) -> str:
    """Return the last error that a trial printed in its last attempt."""
    lines = said(trial)
    last = max((i for i, line in enumerate(lines) if line.startswith(ATTEMPT)), default=0)
    errors = [line.removeprefix("error: ") for line in lines[last:] if line.startswith("error: ")]
    return errors[-1] if errors else ""


def said(trial: Trial) -> list[str]:
    """Return the lines of a trial's log."""
    return read_text(trial.log).splitlines() if trial.log.exists() else []
