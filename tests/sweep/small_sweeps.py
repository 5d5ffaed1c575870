"""A small sweep of two trials, and who is at work on it."""

from __future__ import annotations

import time
from pathlib import Path

from small_runs import settings


def words(store: Path, out: Path, *more: str, steps: int = 200, saved_every: int = 5) -> list[str]:
    changes = {"log_every": 50, "eval_every": 0, "checkpoint_every": saved_every}
    return [
        "sweep", "--grid", "sampler=uniform,cluster", "--out", str(out), "--data", str(store),
        "--agent", "diffusion_ql", "--steps", str(steps), "--batch-size", "8", *more,
        "--set", *settings("diffusion_ql", **changes),
    ]  # fmt: skip


def at_work(folder: Path) -> list[int]:
    """Return the processes that work on runs under a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"offline" in said and any(str(folder).encode() + b"/trials/" in word for word in said):
            found.append(int(path.parent.name))
    return found


def wait(condition, limit: float = 240.0) -> None:
    until = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.05)
