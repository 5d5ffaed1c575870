"""Results of a sweep: results.csv, one row per trial, and a table of one row per cell of the grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajrl.core.atomic_files import new_file
from trajrl.report.frames import SUCCESS
from trajrl.report.frames import frame as run_frame
from trajrl.report.runs.folders import read_folder
from trajrl.sweep.grid import Trial
from trajrl.sweep.process import attempts, reason
from trajrl.training.run_dir.evaluations import bootstrap_mean, shown

if TYPE_CHECKING:
    import pandas as pd

STATES = ("finished", "failed", "begun", "waiting")
HEADER = ("seeds", "last", "95 % interval", "mean of last ten", "best", "selected")


def write_results(out: Path, trials: Sequence[Trial]) -> pd.DataFrame:
    """Read every trial from its folder, write results.csv, and return the frame."""
    found = frame(trials)
    with new_file(out / "results.csv") as path:
        found.to_csv(path, index=False)
    return found


def frame(trials: Sequence[Trial]) -> pd.DataFrame:
    """Return one row per trial: its place in the grid, how it stands, and the columns of a run's frame."""
    import pandas as pd

    runs = [run for trial in trials if (run := read_folder(trial.folder, trial.name, [])) is not None]
    rows = pd.DataFrame(
        [
            {"trial": trial.name, **{f"grid.{key}": value for key, value in trial.cell}, "seed": trial.seed,
             "state": state(trial), "attempts": attempts(trial), "error": reason(trial)}
            for trial in trials
        ]
    )  # fmt: skip
    if not runs:
        return rows
    known = run_frame(runs).drop(columns=["seed", "finished"])
    return rows.merge(known, how="left", left_on="trial", right_on="run").drop(columns="run")


def state(trial: Trial) -> str:
    """Return how a trial stands: finished, failed, begun or waiting."""
    if trial.finished:
        return "finished"
    if reason(trial):
        return "failed"
    return "begun" if trial.begun else "waiting"


def table(found: pd.DataFrame, names: Sequence[str], seed: int) -> list[tuple[str, ...]]:
    """Return the rows of the printed table: scores over the seeds of each cell that have finished.

    Where success is the main figure, it is a share in per cent.
    """
    rows = []
    solved = "score_name" in found and found["score_name"].dropna().eq(SUCCESS).all()
    scale = SUCCESS if solved else "score"
    for cell, group in found.groupby([f"grid.{name}" for name in names], sort=False):
        values = group["last"].dropna().to_numpy(np.float64) if "last" in group else np.zeros(0)
        cells = [f"{len(values)} of {len(group)}"]
        if len(values):
            low, high = bootstrap_mean(values, seed)
            between = f"{shown(low, scale)} to {shown(high, scale)}" if len(values) > 1 else "one seed"
            cells += [shown(values.mean(), scale), between]
            means = [group[name].mean() for name in ("mean_last_10", "best", "selected")]
            cells += ["" if np.isnan(mean) else shown(mean, scale) for mean in means]  # not all select
        rows.append((*map(str, cell), *cells, *[""] * (len(HEADER) - len(cells))))
    return rows
