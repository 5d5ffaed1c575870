"""What came out of a protocol: one row a task, seed, phase and evaluation; aggregates over seeds and tasks.

x      0 where the offline phase ends: updates before it are negative, environment steps after it positive
value  the main figure: success where the environment says it, else the score, else the return
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.console import say
from trajrl.report import stats
from trajrl.report.runs.tables import EVALS
from trajrl.sweep.grid import Trial
from trajrl.sweep.protocol import PHASES, Pair
from trajrl.training.config import RunConfig

if TYPE_CHECKING:
    import pandas as pd

ROWS = ("environment", "task", "agent", "sampler", "seed", "phase", "step", "x", "episodes", "success",
        "score", "return", "value")  # fmt: skip
AGGREGATES = ("task", "x", "runs", "mean", "low", "high", "iqm", "iqm_low", "iqm_high")
OUTCOMES = ("task", "seed", "offline", "online", "gain", "drop", "regret", "steps_to_90")
ALL = "all"
SOLVED = 0.9  # of success


def rows(found: Sequence[Pair]) -> pd.DataFrame:
    """Return a row for every evaluation that there is so far, of finished runs and of others."""
    import pandas as pd

    parts = [
        _of_run(pair, phase, getattr(pair, phase))
        for pair in found
        for phase in PHASES
        if (getattr(pair, phase).folder / "evals.csv").exists()
    ]
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(ROWS))
    main = next((name for name in ("success", "score") if len(whole) and whole[name].notna().all()), "return")
    return whole.assign(value=whole[main])[list(ROWS)]


def _of_run(pair: Pair, phase: str, trial: Trial) -> pd.DataFrame:
    """Return the rows of one run."""
    config = RunConfig.load(trial.folder / "config.json")
    notes: list[str] = []
    read = EVALS.read(trial.folder / "evals.csv", notes)
    for note in notes:
        say(f"note: {note}")
    episodes = EVALS.tidy(read.assign(run=trial.name))
    each = episodes.groupby("step", sort=True)
    table = each[["success", "score", "return"]].agg(lambda column: column.mean(skipna=False))
    first = config.steps if phase == "offline" else 0
    return table.reset_index().assign(
        environment=pair.environment, task=pair.task, agent=config.agent, sampler=config.sampler,
        seed=pair.seed, phase=phase, x=table.index.to_numpy() - first, episodes=each.size().to_numpy(),
        value=np.nan,
    )  # fmt: skip


def runs_by_x(found: pd.DataFrame) -> pd.DataFrame:
    """Return one value a task, seed and x; where the phases meet, the mean over both evaluations."""
    return found.groupby(["task", "seed", "x"], as_index=False)["value"].mean()


def aggregates(found: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return mean and interquartile mean with their intervals at every x: of each task, and of all.

    All tasks together only where every run has come so far: a mean over other tasks is another number.
    """
    import pandas as pd

    whole = runs_by_x(found)
    made = [
        _aggregate(task, x, [part["value"].to_numpy()], seed)
        for (task, x), part in whole.groupby(["task", "x"])
    ]
    count = len(whole[["task", "seed"]].drop_duplicates())
    for x, part in whole.groupby("x"):
        if len(part) == count and whole["task"].nunique() > 1:
            made.append(
                _aggregate(ALL, x, [own["value"].to_numpy() for _, own in part.groupby("task")], seed)
            )
    return pd.DataFrame(made, columns=list(AGGREGATES))


def _aggregate(task: Any, x: Any, values: Sequence[np.ndarray], seed: int) -> tuple[Any, ...]:
    """Return one row: the runs of each task are resampled by themselves."""
    mean = stats.interval(values, stats.weighted_mean, seed=seed)
    middle = stats.interval(values, seed=seed)
    count = sum(map(len, values))
    return (str(task), int(x), count, *(float(part) for part in (*mean, *middle)))


def outcomes(found: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every run that has begun online: before, after, drop, regret, when it is at 0.9."""
    import pandas as pd

    made = []
    for (task, seed), own in found[found["phase"] == "online"].groupby(["task", "seed"]):
        own = own.sort_values("step")
        step, value = own["step"].to_numpy(np.float64), own["value"].to_numpy(np.float64)
        first, last = value[0], value[-1]
        solved = step[own["success"].to_numpy(np.float64) >= SOLVED]
        regret = stats.regret(step, value, first)
        when = solved[0] if len(solved) else np.nan
        made.append((task, seed, first, last, last - first, stats.drop(value), regret, when))
    return pd.DataFrame(made, columns=list(OUTCOMES))
