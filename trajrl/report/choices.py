"""How well criteria that need no environment would have chosen, where the true score is known.

regret        score of the best kept policy - score of the first choice
spearman      rank correlation of criterion and score, over the kept policies
beats_last    the first choice scores above the last policy
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trajrl.report.selection import by_step, mean_losses
from trajrl.samplers.base.distributions import average_ranks
from trajrl.training.run_dir.selection import read_selection

if TYPE_CHECKING:
    import pandas as pd

LOGGED = {  # criterion: end of a column of the log; all are better where they are smaller
    "held-out cloning loss": "/validation/bc_loss",
    "held-out TD error": "/validation/td_abs",
}
CLONING = "training's cloning loss"
COLUMNS = (
    "run",
    "criterion",
    "step",
    "score",
    "best",
    "last",
    "regret",
    "spearman",
    "beats_last",
    "policies",
)


class Choice(NamedTuple):
    """What a criterion would have chosen, and what that is worth."""

    place: int  # of the first choice
    regret: float
    spearman: float  # NaN of fewer than three policies, or of equal ones
    beats_last: bool


def choice(value: np.ndarray, score: np.ndarray, larger_is_better: bool) -> Choice:
    """Judge a criterion's values (S,) of kept policies by their true scores (S,), in the order of steps."""
    good = value if larger_is_better else -value
    place = len(good) - 1 - int(np.argmax(good[::-1]))  # of equals the later
    varied = len(good) > 2 and np.ptp(good) > 0 and np.ptp(score) > 0
    ranks = (average_ranks(good), average_ranks(score)) if varied else ()
    spearman = float(np.corrcoef(*ranks)[0, 1]) if varied else float("nan")
    return Choice(place, float(score.max() - score[place]), spearman, bool(score[place] > score[-1]))


def selections(paths: Mapping[str, Path], notes: list[str]) -> dict[str, dict[str, Any]]:
    """Return selection.json of the runs that have one; one that cannot be read becomes a note."""
    found = {}
    for run, path in paths.items():
        try:
            one = read_selection(path)
        except (OSError, ValueError) as error:
            notes.append(" ".join(str(error).split()))
            continue
        if one is not None:
            found[run] = one
    return found


def choices(
    evaluations: pd.DataFrame, logged: pd.DataFrame, selected: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """Return one row per run of two evaluations or more, and criterion that is known at each of them."""
    import pandas as pd

    means, rows = by_step(evaluations) if len(evaluations) else pd.DataFrame({"run": []}), []
    for run, own in means.groupby("run", observed=True, sort=False):
        step, score = own["step"].to_numpy(), own["value"].to_numpy()
        if len(step) < 2:
            continue
        log = logged[logged["run"] == run] if len(logged) else logged
        for name, values, larger in known_at(step, log, selected.get(str(run))):
            found = choice(values, score, larger)
            rows.append((str(run), name, int(step[found.place]), score[found.place], score.max(), score[-1],
                         found.regret, found.spearman, found.beats_last, len(step)))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def known_at(
    step: np.ndarray, log: pd.DataFrame, selected: Mapping[str, Any] | None
) -> list[tuple[str, np.ndarray, bool]]:
    """Return name, values (S,) and whether larger is better of every criterion known at all steps (S,)."""
    found = [(CLONING, mean_losses(log if len(log) else None, step), False)]
    for name, end in LOGGED.items():
        columns = [column for column in log.columns if column.endswith(end)]
        if columns:
            at = log.set_index("step")[columns].mean(axis=1)
            found.append((name, at[~at.index.duplicated(keep="last")].reindex(step).to_numpy(), False))
    if selected is not None:
        value = {int(row["step"]): float(row["value"]) for row in selected["policies"]}
        values = np.array([value.get(int(one), np.nan) for one in step])
        found.append((f"select --by {selected['by']}", values, selected.get("better") == "higher"))
    return [one for one in found if np.isfinite(one[1]).all()]
