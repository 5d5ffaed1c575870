"""Rank kept policies by a criterion, and write down in every run which of its own is selected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trajrl.core.atomic_files import write_text
from trajrl.core.json_file import as_written, read_object
from trajrl.core.products import exactly
from trajrl.core.registry import find
from trajrl.core.source_place import short
from trajrl.training.ope.criteria import CRITERIA, DEFAULT
from trajrl.training.ope.estimate import Estimates
from trajrl.training.ope.question import Kept, Question, runs_of
from trajrl.training.ope.score import evaluations
from trajrl.training.run_dir import checkpoint
from trajrl.training.run_dir.evaluations import interval
from trajrl.training.run_dir.load_run import load_run
from trajrl.training.run_dir.selection import read_selection, write_selection


class Ranking(NamedTuple):
    """Policies in the order in which they were given, and what a criterion says of each."""

    by: str
    policies: list[Kept]
    estimates: Estimates

    @property
    def best(self) -> int:
        """Return the place of the first choice."""
        return int(self.estimates.order[0])

    def of(self, run: Path) -> Ranking:
        """Return the ranking of one run's policies."""
        rows = [i for i, policy in enumerate(self.policies) if policy.run.folder == run]
        found = self.estimates
        own = replace(found, value=found.value[rows], samples=found.samples[rows])
        return Ranking(self.by, [self.policies[i] for i in rows], own)

    def rows(self) -> list[dict[str, Any]]:
        """Return value, interval and tie with the first choice of every policy, by name."""
        found = self.estimates
        columns = found.value, found.low, found.high, found.tied(self.best)
        return [
            {"run": short(policy.run.folder), "step": policy.step, "value": float(value), "low": float(low),
             "high": float(high), "tied": bool(tied)}
            for policy, value, low, high, tied in zip(self.policies, *columns)
        ]  # fmt: skip


def kept_policies(folders: Sequence[Path], trust: bool = False) -> list[Kept]:
    """Return every policy that runs keep; a run that keeps none is refused."""
    found = []
    for folder in folders:
        run = load_run(folder, trust)
        run.step("last")  # refuses a run that keeps none
        found += [Kept(run, step) for step in checkpoint.policy_steps(run.folder / "checkpoints")]
    return found


def rank(policies: Sequence[Kept], by: str = DEFAULT, question: Question | None = None) -> Ranking:
    """Rank policies by a criterion."""
    question = question or Question()
    question.validate()
    with exactly():  # a run that learns by rounded products ranks as `select` does afterwards
        estimates = find(CRITERIA, by, "criterion")(policies, question)
    unknown = ~np.isfinite(estimates.value)
    if unknown.any():
        raise ValueError(
            f"{policies[int(unknown.argmax())]} has no finite {by}; select --by another criterion"
        )
    return Ranking(by, list(policies), estimates)


def write(ranking: Ranking) -> list[Path]:
    """Write selection.json of every run, and bring its summary in line."""
    written = []
    for run in runs_of(ranking.policies):
        own = ranking.of(run.folder)
        rows = [{name: value for name, value in row.items() if name != "run"} for row in own.rows()]
        chosen = rows[own.best]
        better = "higher" if own.estimates.higher_is_better else "lower"
        first = ranking.policies[ranking.best].run.folder == run.folder
        found = {"by": own.by, **{name: chosen[name] for name in ("step", "value", "low", "high")},
                 "better": better, "first_of_its_runs": first, "policies": rows}  # fmt: skip
        written.append(write_selection(run.folder, found))
        bring_in_line(run.folder, run.config.seed)
    return written


def bring_in_line(folder: Path, seed: int) -> None:
    """Let a finished run's summary name the policy that its selection.json names."""
    path = folder / "summary.json"
    if not path.exists():
        return
    with as_written(path):
        summary = with_selected(read_object(path), folder, seed)
    write_text(path, json.dumps(summary, indent=2) + "\n")


def with_selected(summary: dict[str, Any], folder: Path, seed: int) -> dict[str, Any]:
    """Return a summary with the policy that selection.json names, and its score where it was evaluated."""
    found = read_selection(folder)
    if found is None:
        return summary
    named = {**summary, "selected_step": found["step"], "selected_by": found["by"]}
    if scores := summary.get("scores"):
        scale = str(summary.get("scale", "score"))
        named["scores"] = {**scores, "selected": score_at(folder, seed, found["step"], scale)}
    return named


def score_at(folder: Path, seed: int, step: int, scale: str) -> dict[str, Any] | None:
    """Return the main figure of the evaluation at a step, as summary.json has it; None without one."""
    rows = [row for row in evaluations(folder) if row["step"] == step]
    if not rows:
        return None
    known = np.array([row["success"] for row in rows if np.isfinite(row["success"])])
    success = {"success": interval(known, seed, "success")} if len(known) else {}
    return {**interval(np.array([row[scale] for row in rows]), seed, scale), "step": step, **success}
