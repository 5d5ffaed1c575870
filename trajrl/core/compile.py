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
    """Say why torch can compile nothing here; empty where its compiler makes a program of nothing."""
    said = {name: failed(name, "--version") for name in compilers()}
    found = next((name for name, wrong in said.items() if not wrong), None)
    if found is None:
        tried = ", ".join(f"{name}: {wrong}" for name, wrong in said.items())
        return f"torch finds no C++ compiler that works ({tried}; the variable CXX names another)"
    with TemporaryDirectory() as place:
        source, program = Path(place) / "nothing.cpp", Path(place) / "nothing"
        source.write_text("#include <cmath>\nint main() { return 0; }\n")
        wrong = failed(found, str(source), "-o", str(program))
        wrong = wrong or ("" if program.exists() else "it says nothing and writes nothing")
    return f"{shutil.which(found)} makes no program ({wrong})" if wrong else ""


def compilers() -> list[str]:
    """Return the commands that torch looks for, of which it takes the first that answers: g++, or CXX."""
    from torch._inductor import config

    named = config.cpp.cxx
    return [name for name in (named if isinstance(named, tuple | list) else (named,)) if name]


def failed(*command: str) -> str:
    """Say in a line why a command did not run to its end; empty where it did."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        return error.strerror or "it does not run"
    return "" if not ran.returncode else (ran.stderr.strip().splitlines() or ["it says nothing"])[0]


def losses_of(agent: Any) -> list[str]:
    """Return the names of an agent's losses: pure functions of a batch and its noise."""
    return [name for name in dir(type(agent)) if name.endswith("_loss") and not name.startswith("_")]
