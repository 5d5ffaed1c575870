"""Runs as tidy pandas frames: one row per run, evaluation episode, log interval or training episode.

    runs = load_runs("runs/*")      # run, group, agent, sampler, env, seed, last, best, path ...
    evals(runs)                     # run, step, episode, seed, return, score, success, length, value
    metrics(runs)                   # run, step, then every 'phase/part/name' that any of the runs logged
    episodes(runs)                  # run, episode, draws, TD errors, cluster, phase, return ...

Where many runs lie side by side their tables are kept as parquet under the user's cache folder and only what
changed is read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.console import say
from trajrl.core.program import program
from trajrl.report.runs import cache
from trajrl.report.runs.folders import RunFolder, scan
from trajrl.report.runs.groups import group_names
from trajrl.report.runs.tables import EPISODES, EVALS, METRICS, Kind, by_success
from trajrl.store.places import named

if TYPE_CHECKING:
    import pandas as pd

SCORES = ("last", "mean_last_10", "best", "selected")
SUCCESS = "success"  # the score_name of runs whose main figure is the share of episodes that succeeded
AVERAGES = ("return", "score", "success")  # of the data
NO_SCALE = ("", "none")
MEASURED = ("seconds", "updates_per_second", "peak_memory_mib", "return_mean", "success_mean")
NUMBERS = (*SCORES, *(f"{name}_{end}" for name in SCORES for end in ("low", "high", "step")), *MEASURED,
           *(f"{name}_success{end}" for name in SCORES for end in ("", "_low", "_high")),
           "data_return", "data_score", "data_success")  # fmt: skip


def load_runs(patterns: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Return one row per run; what is not quite a run is said in a line each."""
    found = scan(patterns)
    for note in found.notes:
        say(f"note: {note}")
    if not found.runs:
        raise ValueError(f"no run to read in {patterns}; `{program()} offline` makes one")
    return frame(found.runs)


def frame(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Return one row per run, with a `group` that runs of the same settings share whatever their seed."""
    import pandas as pd

    rows = pd.DataFrame([_row(run) for run in runs])
    numbers = {name: pd.to_numeric(rows[name], errors="coerce").astype(float) for name in NUMBERS}
    rows = rows.assign(**numbers)  # where no run has a number a column holds None alone
    rows.insert(1, "group", group_names([run.config for run in runs], [run.environment for run in runs]))
    return rows


def evals(runs: pd.DataFrame) -> pd.DataFrame:
    """Return every evaluation episode; `value` is its score, else success (0 or 1), else its return."""
    return _joined(runs, EVALS)


def metrics(runs: pd.DataFrame) -> pd.DataFrame:
    """Return every log interval, with the columns of all runs."""
    return _joined(runs, METRICS)


def episodes(runs: pd.DataFrame) -> pd.DataFrame:
    """Return every training episode of the runs that have finished."""
    return _joined(runs, EPISODES)


def _row(run: RunFolder) -> dict[str, Any]:
    """Return what a run's small files say of it."""
    config, summary = run.config, run.summary
    row: dict[str, Any] = {"run": run.name}
    row.update({name: config.get(name, "") for name in ("phase", "agent", "sampler", "metric")})
    row.update(env=run.environment, data=named(str(config.get("data", ""))), seed=config.get("seed", 0))
    row.update(steps=config.get("steps", 0), finished=run.finished)
    row.update(score_name=scale_name(summary))
    in_returns = row["score_name"] == SUCCESS and "scale" not in summary  # an old summary
    scores = summary.get("scores") or {}
    for name in SCORES:
        found = scores.get(name) or {}
        row[f"{name}_step"] = found.get("step", np.nan)
        main = {} if in_returns else found
        row.update({name: main.get("value", np.nan)})
        row.update({f"{name}_{end}": main.get(end, np.nan) for end in ("low", "high")})
        row.update(_ends(f"{name}_success", found.get("success") or {}))
    row.update(_student(summary.get("distilled") or {}))
    row.update({name: summary.get(name, np.nan) for name in MEASURED})
    average = summary.get("data") or {}
    row.update({f"data_{name}": average.get(f"average_{name}", np.nan) for name in AVERAGES})
    return {**row, "path": str(run.path)}


def _student(found: Mapping[str, Any]) -> dict[str, float]:
    """Return the score of a run's one-step student, with its ends, and the times of an action in ms."""
    score, times = found.get("score") or {}, found.get("milliseconds") or {}
    return {
        **_ends("student", score),
        **{f"{name}_ms": times.get(name, np.nan) for name in ("chain", "student")},
    }


def scale_name(summary: Mapping[str, Any]) -> str:
    """Return the name of a finished run's scale; summaries of old runs do not say that success is theirs."""
    name = str(summary.get("score_name") or "")
    if "scale" in summary:
        return SUCCESS if summary["scale"] == "success" else name
    return SUCCESS if name == "none" and summary.get("success_mean") is not None else name


def scaled(runs: pd.DataFrame, evaluations: pd.DataFrame) -> pd.DataFrame:
    """Name the scale of runs that have not finished by what their evaluations hold."""
    unnamed = runs["score_name"].isin(NO_SCALE)
    scored = runs["run"].isin(evaluations.loc[evaluations["score"].notna(), "run"])
    solved = runs["run"].isin(evaluations.loc[by_success(evaluations), "run"])
    names = runs["score_name"].mask(unnamed & solved, SUCCESS)
    return runs.assign(score_name=names.mask((names == "") & scored, "the environment's own"))


def _ends(name: str, found: Mapping[str, float]) -> dict[str, float]:
    """Return a mean and the ends of its interval under a name."""
    ends = {"": "value", "_low": "low", "_high": "high"}
    return {name + end: found.get(key, np.nan) for end, key in ends.items()}


def gathered(runs: pd.DataFrame, kind: Kind) -> pd.DataFrame:
    """Join one table of every run, in the order of the runs; attrs["notes"] says what was left out."""
    return cache.gather(dict(zip(runs["run"], (Path(path) for path in runs["path"]))), kind)


def _joined(runs: pd.DataFrame, kind: Kind) -> pd.DataFrame:
    """Join one table of every run, and say what was left out."""
    found = gathered(runs, kind)
    for note in found.attrs["notes"]:
        say(f"note: {note}")
    return found
