"""Checks of where data comes from: its environment, versions, published size, and what its returns say."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from trajrl.formats.base.source import Source
from trajrl.formats.doctor.finding import ERROR, INFORMATION, WARNING, Finding
from trajrl.formats.doctor.known import quality_of, size_of, task_of
from trajrl.formats.doctor.survey import Survey
from trajrl.formats.robomimic.reader import Robomimic

MANY = 20  # episodes; fewer may all be from the start of a recording


def environment(survey: Survey, source: Source) -> Iterator[Finding]:
    """No environment, or one without a version."""
    if not source.environment:
        yield Finding(
            WARNING, "environment", "nothing says which environment this was recorded in",
            "a policy cannot be evaluated without --env, and no box or score is known",
            "records what --env names",
        )  # fmt: skip
    elif not re.search(r"-v\d+$|:", source.environment):
        yield Finding(
            WARNING, "environment", f"environment '{source.environment}' has no version",
            "dynamics and returns differ between versions: scores may not compare",
            "records what --env names",
        )  # fmt: skip


def scores(survey: Survey, source: Source) -> Iterator[Finding]:
    """Reference scores that do not belong to this environment."""
    task = task_of(source)
    known = source.environment or ""
    if task and task.references[0] != task.references[1] and known and not known.startswith("d4rl:"):
        yield Finding(
            INFORMATION, "scores", f"D4RL's reference scores do not apply to {known}: other dynamics",
            "report raw returns; a D4RL-normalised score of this data means nothing",
        )  # fmt: skip


def published_size(survey: Survey, source: Source) -> Iterator[Finding]:
    """Fewer or more steps than the published set."""
    size = size_of(source)
    if size and size != (survey.transitions, survey.episodes):
        yield Finding(
            ERROR, "published_size",
            f"{source.label} is published with {size[0]} steps in {size[1]} episodes; "
            f"this has {survey.transitions} in {survey.episodes}",
            "it is a part of the set, or another one under its name: results do not compare",
            count=abs(size[0] - survey.transitions),
        )  # fmt: skip


def strange_returns(survey: Survey, source: Source) -> Iterator[Finding]:
    """Returns that the task cannot give, or that do not fit the set's name."""
    task, returns = task_of(source), np.array(survey.returns)
    if not task or task.references[0] == task.references[1] or not np.isfinite(returns).all():
        return
    worst, best = task.references
    score = (returns.mean() - worst) / (best - worst)
    claimed = quality_of(source)
    poor = claimed not in ("", "random") and score < 0.05 and survey.episodes >= MANY
    if poor or score > 2:
        said = f"a set called '{claimed}'" if claimed and poor else "this task"
        yield Finding(
            WARNING, "strange_returns",
            f"the mean return {returns.mean():.4g} is far from what {said} has: "
            f"a random policy gets {worst:.4g}, an expert {best:.4g}",
            "the file may be synthetic, relabelled or of another task", count=survey.episodes,
        )  # fmt: skip


def strange_columns(survey: Survey, source: Source) -> Iterator[Finding]:
    """Observations outside what the task's body can do."""
    task = task_of(source)
    for name, (low, high) in (task.columns if task else {}).items():
        column = int(name)
        if column < survey.obs_low.size and (survey.obs_low[column] < low or survey.obs_high[column] > high):
            yield Finding(
                WARNING, "strange_columns",
                f"observation column {column} goes from {survey.obs_low[column]:.3g} to "
                f"{survey.obs_high[column]:.3g}; in this task it stays within {low:g} and {high:g}",
                "the observations are not those of the task: normalised, synthetic, or in another order",
                where=f"column {column}",
            )  # fmt: skip


def old_relabelling(survey: Survey, source: Source) -> Iterator[Finding]:
    """Single-task rewards of an ogbench whose environments reward another step."""
    version = str(source.versions.get("ogbench", ""))
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if numbers and numbers < (1, 2, 0):
        yield Finding(
            WARNING, "old_relabelling", f"rewards were made by ogbench {version}, before 1.2.0",
            "rewards of the data are functions of o_t, those of its environments of o_(t+1)",
            count=survey.transitions,
        )  # fmt: skip


def gaps(survey: Survey, source: Source) -> Iterator[Finding]:
    """Demonstrations whose numbers have gaps."""
    if not isinstance(source, Robomimic):
        return
    numbers = [int(found.group()) for name in source.demos if (found := re.search(r"\d+$", name))]
    absent = len(set(range(max(numbers, default=-1) + 1)) - set(numbers))
    if absent and not source.options.filter:
        yield Finding(
            WARNING, "gaps", f"{absent} numbers below demo_{max(numbers)} have no demonstration",
            "the file is a part of a set: results do not compare with those of the whole", count=absent,
        )  # fmt: skip
