"""Checks of how episodes end, of marks, jumps, and where rewards stand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trajrl.formats.base.source import Source
from trajrl.formats.doctor.finding import ERROR, WARNING, Finding
from trajrl.formats.doctor.known import task_of
from trajrl.formats.doctor.survey import Survey

LONG = 50  # steps: shorter episodes may well all end at one length by themselves


def terminated_at_limit(survey: Survey, source: Source) -> Iterator[Finding]:
    """Time limits written as terminals."""
    hit = at_limit(survey)
    if hit.any():
        first, length = int(hit.argmax()), max(survey.lengths)
        yield Finding(
            WARNING, "terminated_at_limit",
            f"all {int(hit.sum())} episodes of {length} steps, the longest, are terminated: a time limit",
            "the value of the state at the limit is learned as 0, though the task continues",
            "marks them truncated; where the last observation was made up, the last action is given up",
            int(hit.sum()), f"episode {first}, step {length - 1}", fixed=True,
        )  # fmt: skip


def at_limit(survey: Survey) -> np.ndarray:
    """Return which episodes (E,) are terminated at what looks like a time limit."""
    lengths, terminated = np.array(survey.lengths), np.array(survey.terminated)
    longest = lengths == lengths.max()
    limited = lengths.max() >= LONG and longest.sum() > 1 and terminated[longest].all()
    return longest & limited


def terminated_endless(survey: Survey, source: Source) -> Iterator[Finding]:
    """Terminals in a task that cannot terminate."""
    hit = endless(survey, source)
    if hit.any():
        first = int(hit.argmax())
        yield Finding(
            WARNING, "terminated_endless",
            f"{int(hit.sum())} episodes are terminated in a task that cannot terminate",
            "the value behind them is learned as 0, though the task continues",
            "marks them truncated; where the last observation was made up, the last action is given up",
            int(hit.sum()), f"episode {first}, step {survey.lengths[first] - 1}", fixed=True,
        )  # fmt: skip


def endless(survey: Survey, source: Source) -> np.ndarray:
    """Return which episodes (E,) are terminated though their task cannot terminate."""
    task = task_of(source)
    return np.array(survey.terminated) & bool(task and not task.terminates)


def marked_often(survey: Survey, source: Source) -> Iterator[Finding]:
    """Several terminals in one episode."""
    tally = survey.marked_often
    if tally.count:
        yield Finding(
            WARNING, "marked_often", f"{tally.count} episodes have terminals or dones on several steps",
            "read as ends they would be strings of episodes of one step; a mark cuts no chunk, one in a "
            "horizon keeps out later values, and --after-success cut drops what follows the first",
            "nothing: an import keeps them as marks", tally.count, tally.where,
        )  # fmt: skip


def jumps(survey: Survey, source: Source) -> Iterator[Finding]:
    """Positions that jump inside an episode."""
    tally = survey.jumps
    if tally.count:
        yield Finding(
            ERROR, "jumps", f"{tally.count} steps move farther than the task can: a reset without a flag",
            "windows cross from one episode into another, and the critic learns transitions that cannot be",
            "cuts the step out; what is before and behind becomes episodes of its own",
            tally.count, tally.where, fixed=True,
        )  # fmt: skip


def early_rewards(survey: Survey, source: Source) -> Iterator[Finding]:
    """Rewards that belong to the observation before the action."""
    if survey.goals and survey.early_rewards == 0 and survey.late_rewards > 0:
        yield Finding(
            WARNING, "early_rewards",
            "rewards[t] is a function of the distance to the goal at o_t, not at o_(t+1): one step early",
            "the step that reaches the goal earns nothing; values are shifted by one step",
            count=survey.late_rewards,
        )  # fmt: skip
