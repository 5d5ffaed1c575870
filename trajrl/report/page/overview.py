"""The tables of a report: runs and their scores, the way online, settings that differ, versions, commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.report import stats
from trajrl.report.charts import captions
from trajrl.report.charts.compare import SPOKEN
from trajrl.report.frames import SCORES, SUCCESS
from trajrl.report.page.contents import Table
from trajrl.report.runs.folders import RunFolder
from trajrl.report.runs.groups import differences, flatten
from trajrl.report.selection import by_step
from trajrl.training.config import ONLINE_FIELDS

if TYPE_CHECKING:
    import pandas as pd

MOST_COLUMNS = 8  # runs beside one another in a table of settings


def run_table(runs: pd.DataFrame, scores: pd.DataFrame, evaluations: pd.DataFrame) -> Table:
    """Return one row per run with its four scores and their intervals.

    Success stands beside them where it is known and not the main figure itself.
    """
    import pandas as pd

    known, solved = scores.set_index("run"), success_by_step(evaluations).groupby("run")["value"]
    last_success = solved.last() if (runs["score_name"] != SUCCESS).any() else {}
    rows = []
    for _, run in runs.iterrows():
        state = "finished" if run["finished"] else "not finished"
        row: dict[str, Any] = {"run": run["run"], "settings": run["group"], "environment": run["env"]}
        row.update({"seed": run["seed"], "state": state})
        scale = run["score_name"]
        for name in SCORES:
            ends = run[f"{name}_low"], run[f"{name}_high"]
            row[SPOKEN[name]] = with_interval(known[name].get(run["run"], np.nan), *ends, scale)
        if runs["student_ms"].notna().any():
            row.update(student_cells(run, scale))
        if len(last_success):
            ends = run["last_success_low"], run["last_success_high"]
            row["success, last"] = with_interval(last_success.get(run["run"], np.nan), *ends, SUCCESS)
        average = run["data_score"] if np.isfinite(run["data_score"]) else run["data_return"]
        average = run["data_success"] if scale == SUCCESS else average
        row.update({"average of the data": with_interval(average, scale=scale), "scale": scale or "unknown"})
        rows.append(row)
    return Table("run-table", "Runs and their four scores", captions.RUNS, pd.DataFrame(rows))


def student_cells(run: pd.Series, scale: str) -> dict[str, str]:
    """Return the score of a run's one-step student, and the milliseconds of an action with and without it."""
    score = with_interval(run["student"], run["student_low"], run["student_high"], scale)
    times = f"{run['chain_ms']:.2f}, {run['student_ms']:.2f}" if np.isfinite(run["student_ms"]) else "none"
    return {"one-step student of last": score, "ms per action: chain, student": times}


def with_interval(value: float, low: float = np.nan, high: float = np.nan, scale: str = "") -> str:
    """Write a number with its interval, if there is one; a success rate in per cent."""
    if not np.isfinite(value):
        return "none"
    text, *ends = (f"{one:.0%}" if scale == SUCCESS else f"{one:.1f}" for one in (value, low, high))
    return f"{text} ({ends[0]} to {ends[1]})" if np.isfinite(low) else text


def success_by_step(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Return the success rate of every evaluation that knows one: run, step, value, episodes."""
    text = evaluations[evaluations["success"].notna()]
    return by_step(text.assign(value=text["success"]))


def online_table(runs: pd.DataFrame, evaluations: pd.DataFrame) -> Table | None:
    """Return what the online phase cost each run and what it brought; None without an online run.

    Regret is the mean shortfall below the offline policy; the gap is that below the best of all runs.
    """
    import pandas as pd

    means, solved = by_step(evaluations), success_by_step(evaluations)
    online = runs[(runs["phase"] == "online") & runs["run"].isin(means["run"])]
    rows = []
    for env, own in online.groupby("env", sort=False):
        best = means.loc[means["run"].isin(runs.loc[runs["env"] == env, "run"]), "value"].max()
        for run in own["run"]:
            curve = means[means["run"] == run]
            step, value = curve["step"].to_numpy(), curve["value"].to_numpy()
            row: dict[str, Any] = {"run": run, "environment": env, "before": value[0], "last": value[-1]}
            row.update({"gain": value[-1] - value[0], "drop": stats.drop(value)})
            row.update({"regret": stats.regret(step, value, value[0])})
            row.update({"gap to the best": stats.regret(step, value, best), "best of all runs": best})
            success = solved.loc[solved["run"] == run, "value"].to_numpy()
            row.update({"success before": success[0], "success, last": success[-1]} if len(success) else {})
            rows.append(row)
    table = pd.DataFrame(rows).round(3)
    return Table("online", "From offline to online", captions.ONLINE, table) if rows else None


def differing(folders: Sequence[RunFolder]) -> Table | None:
    """Return the settings in which runs differ, one column per run; None if there is nothing to compare."""
    import pandas as pd

    shown = folders[:MOST_COLUMNS]
    flat = [flatten(in_use(run.config)) for run in shown]
    names = differences(flat)
    if len(shown) < 2 or not names:
        return None
    rows = [[name, *(written(config.get(name, "not set")) for config in flat)] for name in names]
    left = len(folders) - len(shown)
    caption = captions.SETTINGS + (
        f" The first {MOST_COLUMNS} runs; {left} more are left out." if left else ""
    )
    table = pd.DataFrame(rows, columns=["setting", *(run.name for run in shown)])
    return Table("settings", "Settings that differ", caption, table)


def in_use(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that the phase of a run reads."""
    unused = ONLINE_FIELDS if config.get("phase") == "offline" else frozenset()
    return {name: value for name, value in config.items() if name not in unused}


def versions(folders: Sequence[RunFolder]) -> Table | None:
    """Return the versions each run was made with: one column per distinct set."""
    import pandas as pd

    sets: dict[str, list[str]] = {}
    for run in folders:
        if run.versions:
            sets.setdefault(json.dumps(run.versions, sort_keys=True), []).append(run.name)
    if not sets:
        return None
    known = [json.loads(text) for text in sets]
    names = list(dict.fromkeys(name for one in known for name in one))
    heads = ["all runs"] if len(sets) == 1 else [", ".join(runs) for runs in sets.values()]
    rows = [[name, *(written(one.get(name)) for one in known)] for name in names]
    return Table("versions", "Versions", captions.VERSIONS, pd.DataFrame(rows, columns=["package", *heads]))


def commands(folders: Sequence[RunFolder]) -> dict[str, str]:
    """Return the command of every run that kept one."""
    return {run.name: run.command for run in folders if run.command}


def written(value: Any) -> str:
    """Write a setting as a reader would type it."""
    if value is None or value == "":
        return "none" if value is None else "not set"
    return value if isinstance(value, str) else json.dumps(value)
