"""A run continues in the units of actions that it was trained in, or stops with one line that says how.

A checkpoint keeps the box that the recorded actions were read in.  One made before boxes were kept does not:
its run took recorded actions for [-1, 1], or with --actions scale divided by the recorded box.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajrl.core.json_file import as_written
from trajrl.store.action_box import ActionBox, recorded_box
from trajrl.training.action_units import ANSWERS, action_units, trained_units
from trajrl.training.config import RunConfig
from trajrl.training.run_dir.load_run import load_run

if TYPE_CHECKING:
    from trajrl.training.run import Run


def require_same_units(run: Run, source: Path, path: Path, state: Mapping[str, Any]) -> None:
    """Refuse to continue a run where recorded actions are read in another box than it was trained in.

    Args:
        source: folder of the run that is continued
        path: its checkpoint
        state: what the checkpoint says of the run
    """
    with as_written(path / "run.json"):
        learned, kept = int(state["step"]), recorded_box(state, run.store.action_dim)
    if not learned:  # imported weights, say: nothing was learned from the data
        return
    before = kept or read_before(run, source)
    if before.same_as(run.units.data):
        return
    answer = answer_for(run, before)
    advice = (
        f"give --actions {answer} to continue in that" if answer else "begin a new run with another --out"
    )
    raise ValueError(
        f"{source} was trained with recorded actions read in the box {before}, and here they are read in "
        f"{run.units.data}: {advice}"
    )


def read_before(run: Run, source: Path) -> ActionBox:
    """Return the box of a run whose checkpoint names none."""
    mode = RunConfig.load(source / "config.json").actions
    return trained_units(run.store, mode, load_run(source).kept_action_box()).data


def answer_for(run: Run, box: ActionBox) -> str:
    """Return what --actions must say for the data to be read in a box; empty where nothing does."""
    for mode in ANSWERS:
        try:
            if action_units(run.store, mode, run.suite).data.same_as(box):
                return mode
        except ValueError:
            continue
    return ""
