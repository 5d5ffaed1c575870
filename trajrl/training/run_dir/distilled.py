"""The one-step student of a kept policy: checkpoints/distilled-000012000/{agent.pt, facts.json, whole.json}.

It holds the student's weights alone; critics, encoders and the normaliser are those of policy-000012000.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trajrl.training.run_dir import checkpoint

NAME = "distilled"  # what --checkpoint calls it
UNFINISHED = "distilling"  # folder of what a run that was killed continues from


def keep(folder: Path, step: int, state: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Keep the student of the policy of `step`."""
    checkpoint.keep_pair(place(folder, step), state, facts)


def place(folder: Path, step: int) -> Path:
    """Return the folder of the student of a policy."""
    return folder / f"{NAME}-{step:09d}"


def steps(folder: Path) -> list[int]:
    """Return the steps of the policies that have a student, in order."""
    found = (path.name.removeprefix(f"{NAME}-") for path in folder.glob(f"{NAME}-*"))
    return sorted(int(name) for name in found if name.isascii() and name.isdigit())


def facts(folder: Path, step: int) -> dict[str, Any] | None:
    """Return what was found of the student of a policy; None where it has none."""
    return load(folder, step)[1] if place(folder, step).exists() else None


def load(folder: Path, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the weights of the student of a policy, and the facts beside them."""
    return checkpoint.pair_of(place(folder, step))
