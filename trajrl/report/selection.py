"""The four scores of any runs, finished or not, by the rules of summary.json.

last | mean_last_10, over their episodes | best, an oracle | selected: as selection.json says, else
argsort(bc_loss)[rank]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trajrl.report.frames import SCORES

if TYPE_CHECKING:
    import pandas as pd


def by_step(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Return the mean value of every evaluation: run, step, value, episodes."""
    grouped = evaluations.groupby(["run", "step"], observed=True, sort=True)["value"]
    return grouped.agg(value="mean", episodes="size").reset_index()


def four_scores(
    evaluations: pd.DataFrame,
    logged: pd.DataFrame,
    rank: Mapping[str, int] | int = 0,
    chosen: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Return the four scores of every run with an evaluation.

    Selection takes the evaluation with the rank-th smallest behaviour-cloning loss, each the mean since the
    evaluation before; `rank` is one number or one per run.  Without such a loss nothing is selected.

    Args:
        chosen: step that `select` chose, of the runs where it did
    """
    import pandas as pd

    means = by_step(evaluations)
    rows = []
    losses = dict(iter(logged.groupby("run", observed=True))) if len(logged) else {}
    for run, own in means.groupby("run", observed=True, sort=False):
        value, episodes = own["value"].to_numpy(), own["episodes"].to_numpy()
        loss = mean_losses(losses.get(run), own["step"].to_numpy())
        ranked = np.argsort(loss, kind="stable")[: int(np.isfinite(loss).sum())]
        own_rank = rank if isinstance(rank, int) else rank[str(run)]
        selected = value[ranked[min(own_rank, len(ranked) - 1)]] if len(ranked) else np.nan
        if chosen and str(run) in chosen:
            at = value[own["step"].to_numpy() == chosen[str(run)]]
            selected = at[0] if len(at) else np.nan
        last_ten = np.average(value[-10:], weights=episodes[-10:])
        rows.append((run, value[-1], last_ten, value.max(), selected))
    return pd.DataFrame(rows, columns=["run", *SCORES])


def mean_losses(logged: pd.DataFrame | None, steps: np.ndarray) -> np.ndarray:
    """Return the mean behaviour-cloning loss since the step before, of steps (S,); inf if none was logged."""
    columns = [] if logged is None else [c for c in logged.columns if c.endswith("/actor/bc_loss")]
    if logged is None or not columns:
        return np.full(len(steps), np.inf)
    loss = logged[columns].mean(axis=1).to_numpy()
    known = np.isfinite(loss)
    place = np.searchsorted(steps, logged["step"].to_numpy()[known])  # (rows,) the evaluation that comes next
    count = np.bincount(place, minlength=len(steps) + 1)[: len(steps)]
    total = np.bincount(place, loss[known], minlength=len(steps) + 1)[: len(steps)]
    return np.where(count > 0, total / np.maximum(count, 1), np.inf)
