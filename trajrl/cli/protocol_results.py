"""What `protocol` writes and prints: rows.csv, aggregates.csv, outcomes.csv, and a table of a row a task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajrl.cli.common import say
from trajrl.cli.text_table import show_table
from trajrl.core.atomic_files import new_file, write_text
from trajrl.core.json_file import read_object
from trajrl.core.out_paths import refuse_taken

if TYPE_CHECKING:
    import pandas as pd

    from trajrl.sweep.protocol import Pair
    from trajrl.sweep.published import Published

HEADER = ("task", "seeds", "offline", "online", "95 % interval", "drop", "regret", "to 90 %", "published")


def write_rows(out: Path, planned: list[Pair]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Write rows.csv, aggregates.csv and outcomes.csv from what the runs hold; returns the three."""
    from trajrl.sweep import protocol_rows

    rows = protocol_rows.rows(planned)
    found = rows, protocol_rows.aggregates(rows), protocol_rows.outcomes(rows)
    for name, one in zip(("rows", "aggregates", "outcomes"), found):
        with new_file(out / f"{name}.csv") as path:
            one.to_csv(path, index=False)
    return found


def main_figure(rows: pd.DataFrame) -> str:
    """Return which column the main figure is."""
    return next((name for name in ("success", "score") if rows[name].notna().all()), "return")


def show_outcomes(results: pd.DataFrame, beside: dict[str, Published], share: bool) -> None:
    """Print a row a task: means over its seeds, and what is published."""
    from trajrl.report import stats

    def shown(value: float) -> str:
        return "" if value != value else f"{value:.0%}" if share else f"{value:.1f}"

    lines = []
    groups = [(str(task), own) for task, own in results.groupby("task")]
    for task, own in [*groups, *([("all", results)] if len(groups) > 1 else [])]:
        parts = [part["online"].to_numpy() for _, part in own.groupby("task")]
        whole = stats.interval(parts, stats.weighted_mean)
        between = f"{shown(float(whole.low))} to {shown(float(whole.high))}" if len(own) > 1 else "one seed"
        when, one = own["steps_to_90"].dropna(), beside.get(task)
        mean = [shown(own[name].mean()) for name in ("offline", "online")]
        far = f"{when.mean():.0f} ({len(when)} of {len(own)})" if len(when) else ""
        known = f"{one.method} {shown(one.offline)} -> {shown(one.online)}" if one and share else ""
        lines.append((task, str(own["seed"].nunique()), *mean, between, shown(own["drop"].mean()),
                      shown(own["regret"].mean()), far, known))  # fmt: skip
    say()
    show_table(HEADER, lines, numbers=HEADER[1:8])


def remember(out: Path, made: dict[str, Any]) -> None:
    """Write what the protocol is of; refuse a folder that holds one of something else."""
    path = out / "protocol.json"
    if (out / "config.json").exists() or (out / "sweep.json").exists():
        raise ValueError(f"{out} holds another run or a sweep; give another --out")
    if not path.exists():
        refuse_taken(out / "rows.csv", "protocol")
        write_text(path, json.dumps(made, indent=2) + "\n")
        return
    before = read_object(path)
    for name, value in made.items():
        if before.get(name) != value:
            raise ValueError(
                f"{out} holds a protocol with another {name} ({before.get(name)}; now {value}): "
                "give another --out"
            )
