"""Tables of the gauntlet: what every agent scored on every task, and which floors hold.

A run's score is the mean of its last five evaluations; beside it stand its lowest evaluation, the same five
with one candidate, its last, and the mean of the last ten.  Numbers are scores, or per cent of successes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from evidence_data import MAZE
from evidence_one import LAST
from evidence_tables import heading
from gauntlet_trials import FLAGSHIP, SEEDS, TASKS, updates_of

TUNED = (  # tasks that settings are tuned on; the densest candidate on the three medium-expert
    "hopper-medium-expert", "walker2d-expert25", "walker2d-medium-expert", "halfcheetah-medium-expert",
)  # fmt: skip
COLUMNS = {
    "five": "mean of the last five", "lowest": "lowest", "one": "with one candidate", "last": "last",
    "student": "one-step student of the last", "ten": "mean of the last ten",
    "of_data": "the data's average", "seconds": "seconds", "processor": "processor seconds",
}  # fmt: skip
LEAST = {  # scores that the flagship must reach
    "hopper-medium-expert": 85.0, "walker2d-medium-expert": 85.0, "halfcheetah-medium-expert": 70.0,
    "cube-single-play": 70.0, "cube-single-oracle": 70.0,
}  # fmt: skip
BESIDE = ("iql", "rebrac", "td3_bc")  # what the flagship is compared with at equal time
CHOICE, BEHIND, AHEAD = -2.0, -5.0, 5.0  # points that it may lose by choosing, or to them, and should win


class Floor(NamedTuple):
    """What is to be reached, and what was; None where a run is missing."""

    what: str
    task: str
    least: float | None
    found: float | None

    @property
    def fails(self) -> bool:
        """Say whether what was found is less."""
        return None not in (self.least, self.found) and self.found < self.least


def runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a line for each run, those underway too: what it was scored by."""
    scale = np.where(rows.score.isna(), 100.0, 1.0)  # a share of successes stands in per cent
    value = rows.score.where(rows.score.notna(), 100.0 * columns(rows, "success"))
    rows = rows.assign(
        value=value,
        one=columns(rows, "one") * scale,
        student=columns(rows, "student") * scale,
        of_data=columns(rows, "of_data") * scale,
        processor=columns(rows, "processor"),
    )
    found = []
    for (data, cell, seed), own in rows.sort_values("step").groupby(["data", "cell", "seed"], sort=False):
        own = own[own.step > 0]
        if not len(own):
            continue
        found.append({
            "data": data, "cell": cell, "seed": seed, "updates": int(own.step.max()),
            "five": own.value[-LAST:].mean(), "lowest": own.value.min(), "one": own.one[-LAST:].mean(),
            "last": own.value.iloc[-1], "student": own.student.iloc[-1],
            "ten": own.value[-10:].mean(), "of_data": own.of_data.iloc[-1],
            "seconds": own.seconds.iloc[-1], "processor": own.processor.iloc[-1],
        })  # fmt: skip
    return pd.DataFrame(found, columns=["data", "cell", "seed", "updates", *COLUMNS])


def columns(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return a column as numbers, missing ones where the table has none of that name."""
    return rows[name].astype(float) if name in rows else pd.Series(np.nan, rows.index)


def tables(rows: pd.DataFrame) -> str:
    """Return both tables as markdown."""
    return "\n\n".join((scores(runs(rows)), floors_shown(list(floors(rows)))))


def scores(done: pd.DataFrame) -> str:
    """Return a line for each task, agent and number of updates: means over seeds, and their range.

    Seeds that settings are tuned with have lines of their own.
    """
    shown = [name for name in COLUMNS if name != "student" or done.student.notna().any()]
    lines = heading(["task", "agent", "seeds", "updates", *(COLUMNS[name] for name in shown)])
    for task in [*TASKS, *sorted(set(done.data) - set(TASKS))]:
        of_task = done[done.data == task]
        keys = ["cell", "updates", of_task.seed.isin(SEEDS)]
        for (cell, updates, _), own in of_task.groupby(keys, sort=False):
            seeds = ", ".join(str(seed) for seed in sorted(own.seed))
            cells = [spread(own[name], 0 if name in ("seconds", "processor") else 1) for name in shown]
            lines.append("| " + " | ".join([named(task), cell, seeds, f"{updates:,}", *cells]) + " |")
    return "\n".join(lines)


def named(task: str) -> str:
    """Return a task's name, marked where settings are tuned on it."""
    return f"{task} (tuned on)" if task in TUNED else task


def spread(values: pd.Series, digits: int) -> str:
    """Return the mean of numbers and their range; nothing where there are none."""
    known = values.dropna()
    if not len(known):
        return ""
    mean, low, high = (f"{x:.{digits}f}" for x in (known.mean(), known.min(), known.max()))
    return mean if len(known) == 1 else f"{mean} ({low} to {high})"


def floors(rows: pd.DataFrame) -> Iterator[Floor]:
    """Yield what the flagship must reach on every task, from whole runs with the seeds that judge."""
    rows = rows[rows.seed.isin(SEEDS)]
    done = runs(rows)
    whole = done[done.updates == done.cell.map(updates_of)]
    mean: Any = whole.groupby(["cell", "data"]).mean(numeric_only=True).to_dict("index")
    ahead = {}
    for task in TASKS:
        own = mean.get((FLAGSHIP, task), {})
        five = own.get("five")
        yield Floor("no more than 2 points below one candidate", task, CHOICE, less(five, own.get("one")))
        if task.endswith(("-medium-expert", "-expert25")):
            yield Floor("the data's own average", task, own.get("of_data"), five)
        if task in LEAST:
            yield Floor("a score", task, LEAST[task], five)
        if task == MAZE:
            yield Floor("what ifql scores", task, mean.get(("ifql", task), {}).get("five"), five)
        ahead[task] = less(five, at_equal_time(rows, task, own.get("processor")))
        yield Floor("no more than 5 points below the best baseline in equal time", task, BEHIND, ahead[task])
    known = [lead for lead in ahead.values() if lead is not None]
    share = 100.0 * np.mean([lead >= AHEAD for lead in known]) if known else None
    yield Floor("5 points above that baseline: per cent of tasks", "all so far", 50.0, share)


def less(own: float | None, other: float | None) -> float | None:
    """Return a difference; None where a side is missing."""
    known = own is not None and other is not None and np.isfinite(other)
    return own - other if known else None


def at_equal_time(rows: pd.DataFrame, task: str, seconds: float | None) -> float | None:
    """Return the best baseline's score from its evaluations in the time that the flagship took.

    The time is the processor's: what else the machine did does not count.  A baseline that had made all of
    its updates by then stands as it ended.
    """
    if seconds is None or np.isnan(seconds):
        return None
    in_time = columns(rows, "processor") <= seconds
    early = runs(rows[(rows.data == task) & rows.cell.isin(BESIDE) & in_time])
    return float(early.groupby("cell")["five"].mean().max()) if len(early) else None


def floors_shown(found: list[Floor], who: str = FLAGSHIP) -> str:
    """Return the floors as a table; those that fail are bold."""
    lines = heading([f"what {who} must reach", "task", "at least", "found"])
    for floor in found:
        numbers = ["" if x is None or np.isnan(x) else f"{x:.1f}" for x in (floor.least, floor.found)]
        cells = [floor.what, named(floor.task), *numbers]
        cells = [f"**{cell}**" for cell in cells] if floor.fails else cells
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
