"""selection.json of a run: which kept policy `selected` is, by what criterion, and how the others compare.

Without the file `selected` is what summary.json says: the policy with the k-th smallest cloning loss.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from trajrl.core.atomic_files import write_text
from trajrl.core.console import say
from trajrl.core.json_file import as_written, read_object
from trajrl.training.run_dir import checkpoint

NAME = "selection.json"


def write_selection(folder: Path, found: Mapping[str, Any]) -> Path:
    """Write the file: by, step, value, low, high, and `policies` with the same of every kept one."""
    write_text(folder / NAME, json.dumps(found, indent=2) + "\n")
    return folder / NAME


def read_selection(folder: Path) -> dict[str, Any] | None:
    """Return what the file says; None where there is none."""
    try:
        return parsed(folder)
    except ValueError as error:
        raise ValueError(f"{error}; `select` writes it anew") from error


def parsed(folder: Path) -> dict[str, Any] | None:
    """Return what the file says, or say what is wrong with it."""
    path = folder / NAME
    if not path.exists():
        return None
    with as_written(path):
        found = read_object(path)
        steps = [int(row["step"]) for row in found["policies"]]
        if int(found["step"]) not in steps:
            raise ValueError(f"step {found['step']} is none of its policies")
        if not all(isfinite(row[name]) for row in found["policies"] for name in ("value", "low", "high")):
            raise ValueError("a value or an end of its interval is no finite number")
        return {**found, "step": int(found["step"]), "by": str(found["by"])}


def selected_step(folder: Path) -> int | None:
    """Return the step that was selected; None where nothing was.  What was kept since is named."""
    found = read_selection(folder)
    if found is None:
        return None
    kept = checkpoint.policy_steps(folder / "checkpoints")
    if found["step"] not in kept:
        raise ValueError(
            f"{folder} keeps no policy of step {found['step']}, which its {NAME} names; select again"
        )
    if newer := [step for step in kept if step not in {int(row["step"]) for row in found["policies"]}]:
        say(f"note: {folder / NAME} was made without the policies of steps {', '.join(map(str, newer))}")
    return int(found["step"])


def drop_outdated(folder: Path) -> None:
    """Remove a selection that was made among other policies than those kept now, and say so."""
    if why := outdated(folder):
        (folder / NAME).unlink()
        say(f"{why} and is removed; `select` makes a new one")


def outdated(folder: Path) -> str:
    """Say why a selection holds no longer; empty where it does, or where there is none."""
    try:
        found = parsed(folder)
    except ValueError as error:
        return str(error)
    kept = checkpoint.policy_steps(folder / "checkpoints")
    if found is None or [int(row["step"]) for row in found["policies"]] == kept:
        return ""
    return f"{folder / NAME} was made among other policies"
