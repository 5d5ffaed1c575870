"""Resuming several runs as one program: all go back to the newest step of which each has a checkpoint.

They are saved one after another, so a kill in between leaves some a checkpoint ahead of the others.  What is
ahead is dropped and made again.  A run that had ended by then stays where it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from trajrl.core.json_file import as_written
from trajrl.training.resume import begin_again, require_not_past, restore
from trajrl.training.run import Run
from trajrl.training.run_dir import checkpoint


def restore_all(runs: Sequence[Run]) -> None:
    """Restore every run at the common step, or begin all of them again where one has no checkpoint."""
    newest = [checkpoint.newest(run.folder / "checkpoints") for run in runs]
    stood = [stand(path) for path in newest]
    step = min((step for step, ended in stood if not ended), default=max(step for step, _ in stood))
    require_not_past(runs[0], step)  # before anything is dropped
    for run, path, (reached, _) in zip(runs, newest, stood, strict=True):
        path = path if reached <= step else go_back(run.folder, step)
        if path is None:
            begin_again(run)
            continue
        restore(run, path)
        point_to_best(run)


def stand(path: Path | None) -> tuple[int, bool]:
    """Return the updates that a run had made at its checkpoint, and whether it had ended early."""
    if path is None:
        return 0, False
    found = checkpoint.load(path)["run"]
    with as_written(path / "run.json"):
        return int(found["step"]), bool(found["stop_reason"])


def go_back(folder: Path, step: int) -> Path | None:
    """Make the checkpoint of `step` the latest, and drop those after it; None: the run begins again."""
    place = folder / "checkpoints"
    path = place / f"step-{step:09d}"
    if step and not path.is_dir():
        raise ValueError(
            f"{folder} has no checkpoint of step {step}, the newest that the runs beside it have; continue "
            f"each by itself: --resume --out {folder}"
        )
    if step:
        checkpoint.load(path)  # a damaged one is named before anything is dropped
        checkpoint.point(place, "latest", path.name)
    for later in place.glob("step-*"):
        if later.name > path.name:
            shutil.rmtree(later)
    return path if step else None


def point_to_best(run: Run) -> None:
    """Let `best` name the best checkpoint again, where it named one that was dropped."""
    place, best = run.folder / "checkpoints", run.evaluations.best_step
    if best is not None and (path := place / f"step-{best:09d}").is_dir():
        checkpoint.point(place, "best", path.name)
