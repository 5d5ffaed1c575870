"""Resuming a run: its last checkpoint is restored, and what was written after it is dropped.

Where a resume is refused (docs/resume-refused.md has every message):

    cli/train_command     --resume without --out, of a folder that is no run, beside --config
    resolve_config        resume_config: options that cannot change in the middle of a run
    run_dir/folder        the folder is in use, or the data is other data
    same_units            recorded actions are read in another box
    below                 a part of the checkpoint does not fit what was built
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajrl.core.json_file import as_written
from trajrl.training.run_dir import checkpoint
from trajrl.training.same_units import require_same_units

if TYPE_CHECKING:
    from trajrl.training.run import Run

PARTS = {  # of a checkpoint, by the name of their file, and the field of Run that they restore
    "agent": "agent", "sampler": "sampler", "logger": "logger", "provenance": "episode_stats",
    "scores": "evaluations",
}  # fmt: skip
ON_EVERY_RANK = ("agent", "sampler")


def restore(run: Run, path: Path) -> None:
    """Restore a checkpoint, and drop the rows written after it."""
    parts = checkpoint.load(path)
    require_same_units(run, run.folder, path, parts["run"])
    if run.online:  # first: samplers and statistics refer to episodes that the store must hold
        run.online.load_state_dict(parts)
    for name in PARTS if run.team.leads else ON_EVERY_RANK:
        if name in parts:  # a run made from imported weights has only the agent's
            load_part(run, name, parts[name], path)
    require_same_scale(run)
    with as_written(path / "run.json"):
        stood = parts["run"]
        step, reason, seconds = int(stood["step"]), str(stood["stop_reason"]), float(stood["seconds"])
        processor = float(stood.get("processor_seconds", 0.0))  # checkpoints of 0.1 do not say
    run.advance(step)
    require_not_past(run, run.clock)
    run.stop(reason)
    if run.online and run.online.collector.failures and not run.online.collector.gave_up:
        run.stop("")  # more failures are allowed now
    run.progress.resume(seconds, run.clock, run.updates, processor)
    if run.team.leads:
        run.logger.cut_back(run.clock)
        run.evaluations.cut_back(run.clock)


def load_part(run: Run, name: str, state: Mapping[str, Any], path: Path) -> None:
    """Give one part of a run its saved state; what does not fit fails with the name of the part."""
    try:
        getattr(run, PARTS[name]).load_state_dict(state)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"the {name} saved in {path} is of another kind or size than the run is now asked for; "
            f"resume without the options that change it ({type(error).__name__}: {error})"
        ) from error


def require_same_scale(run: Run) -> None:
    """Refuse to continue where scores would be on another scale than those before: a column has one."""
    before, now = [found.score_name for found in run.evaluations.entries[-1:]], run.suite
    unscored = now is not None and before == ["none"] and now.score(0.0).value is None
    if before and now and now.score(0.0).name != before[0] and not unscored:
        raise ValueError(
            f"{run.folder} was scored as {before[0]}, and here it would be as {now.score(0.0).name}: "
            "continue where the environment and its references are the same, or begin another run"
        )


def require_not_past(run: Run, made: int) -> None:
    """Refuse to continue to a step that lies behind: what was made after it would be of no run."""
    if made > run.config.end:
        option = "--env-steps" if run.config.online else "--steps"
        raise ValueError(
            f"{run.folder} has made {made} steps already, and {option} {run.config.end} ends before; give "
            f"{option} {made} or more"
        )


def begin_again(run: Run) -> None:
    """Drop what a run wrote before it had a first checkpoint."""
    first = -1 if run.online else 0  # online the first evaluation is that of step 0
    run.logger.cut_back(first)
    run.evaluations.cut_back(first)
