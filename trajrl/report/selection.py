"""The four scores of any runs, finished or not, by the rules of summary.json.

last | mean_last_10, over their episodes | best, an oracle | selected: as selection.json says, else
argsort(bc_loss)[rank]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trajrl.report.frames import SCORES, SUCCESS
from trajrl.training.run_dir.evaluations import interval

if TYPE_CHECKING:
    import pandas as pd

ENDS = tuple(f"{name}_{end}" for name in (*SCORES, "last_success") for end in ("low", "high"))


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
    """Return the four scores of every run with an evaluation, and the steps of the best and the selected one.

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
        value, episodes, step = (own[name].to_numpy() for name in ("value", "episodes", "step"))
        loss = mean_losses(losses.get(run), step)
        ranked = np.argsort(loss, kind="stable")[: int(np.isfinite(loss).sum())]
        own_rank = rank if isinstance(rank, int) else rank[str(run)]
        at = ranked[[min(own_rank, len(ranked) - 1)]] if len(ranked) else ranked
        if chosen and str(run) in chosen:
            at = np.flatnonzero(step == chosen[str(run)])
        last_ten = np.average(value[-10:], weights=episodes[-10:])
        best, selected = int(value.argmax()), (value[at[0]], step[at[0]]) if len(at) else (np.nan, np.nan)
        rows.append((run, value[-1], last_ten, value[best], selected[0], step[best], selected[1]))
    return pd.DataFrame(rows, columns=["run", *SCORES, "best_step", "selected_step"])


def with_intervals(runs: pd.DataFrame, evaluations: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return runs with the intervals of their scores, over the very episodes that the scores are means of."""
    known = {str(run): own for run, own in evaluations.groupby("run", observed=True)}
    steps = scores.set_index("run")
    rows = [
        ends(known[run], steps.loc[run], int(seed), SUCCESS if scale == SUCCESS else "")
        if run in steps.index else {}
        for run, seed, scale in runs[["run", "seed", "score_name"]].itertuples(index=False)
    ]  # fmt: skip
    return runs.assign(**{name: [row.get(name, np.nan) for row in rows] for name in ENDS})


def ends(evaluations: pd.DataFrame, scores: pd.Series, seed: int, scale: str) -> dict[str, float]:
    """Return the ends of the intervals of one run's scores, and of the success of its last evaluation."""
    step, best, selected = evaluations["step"].to_numpy(), scores["best_step"], scores["selected_step"]
    last_ten = np.unique(step)[-10:]
    last, value = last_ten[-1:], evaluations["value"].to_numpy(float)
    success = evaluations["success"].to_numpy(float)
    samples = {
        "last": value[np.isin(step, last)], "mean_last_10": value[np.isin(step, last_ten)],
        "best": value[step == best], "selected": value[step == selected],
    }  # fmt: skip
    found = {name: interval(values, seed, scale) for name, values in samples.items() if len(values)}
    solved = success[np.isin(step, last) & np.isfinite(success)]
    found |= {"last_success": interval(solved, seed, SUCCESS)} if len(solved) else {}
    return {f"{name}_{end}": one[end] for name, one in found.items() for end in ("low", "high")}


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
