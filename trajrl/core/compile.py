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
from collections.abc import Callable
from typing import Any

from trajrl.core.console import say

MODES = ("off", "default", "reduce-overhead", "max-autotune")
COMPILERS = ("c++", "g++", "clang++")  # any of them serves
BACKEND: str | Callable[..., Any] = "inductor"


def compile_losses(agent: Any, mode: str) -> None:
    """Replace every loss of an agent by its compiled form; shapes are those of every batch, so never anew."""
    if mode == "off":
        return
    if not any(map(shutil.which, COMPILERS)):
        say(f"compile={mode}: there is no C++ compiler here (g++ or clang++), so the losses run uncompiled")
        return
    import torch

    for name in losses_of(agent):
        agent.substitute(name, torch.compile(getattr(agent, name), mode=mode, backend=BACKEND))


def losses_of(agent: Any) -> list[str]:
    """Return the names of an agent's losses: pure functions of a batch and its noise."""
    return [name for name in dir(type(agent)) if name.endswith("_loss") and not name.startswith("_")]
