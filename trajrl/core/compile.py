"""Compiled losses: torch.compile over the pure functions of an agent, where `--set compile=` asks for it.

off              eager; on a CPU compiling was measured not to pay
default          fewer passes over memory
reduce-overhead  the same, replayed as CUDA graphs on a GPU
max-autotune     the same, after a search for the fastest products

The first update then waits for the compiler, 20 to 45 seconds where nothing else runs;
later runs find its cache.  Functions are compiled, never modules: checkpoints keep their names.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trajrl.core.console import say

MODES = ("off", "default", "reduce-overhead", "max-autotune")
COMPILERS = ("c++", "g++", "clang++")  # any of them serves
BACKEND: str | Callable[..., Any] = "inductor"


def compile_losses(agent: Any, mode: str) -> None:
    """Replace every loss of an agent by its compiled form; shapes are those of every batch, so never anew."""
    if mode == "off":
        return
    if reason := no_compiler():
        say(f"compile={mode}: {reason}, so the losses run uncompiled")
        return
    import torch

    for name in losses_of(agent):
        agent.substitute(name, torch.compile(getattr(agent, name), mode=mode, backend=BACKEND))


def no_compiler() -> str:
    """Say why no C++ compiler can be used here; empty where one makes a program of nothing."""
    found = next(filter(None, map(shutil.which, COMPILERS)), None)
    if found is None:
        return "there is no C++ compiler here (g++ or clang++)"
    with TemporaryDirectory() as place:
        source = Path(place) / "nothing.cpp"
        source.write_text("#include <cmath>\nint main() { return 0; }\n")
        try:
            made = subprocess.run(
                [found, source, "-o", Path(place) / "nothing"], capture_output=True, text=True
            )
        except OSError as error:
            return f"{found} does not run ({error.strerror})"
    said = (made.stderr.strip().splitlines() or ["it says nothing"])[0]
    return f"{found} makes no program ({said})" if made.returncode else ""


def losses_of(agent: Any) -> list[str]:
    """Return the names of an agent's losses: pure functions of a batch and its noise."""
    return [name for name in dir(type(agent)) if name.endswith("_loss") and not name.startswith("_")]
