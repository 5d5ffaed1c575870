"""Checks of the numbers: NaN, sizes, boxes, constants, pixels and choices, duplicates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trajrl.formats.base.source import Source
from trajrl.formats.doctor.finding import ERROR, INFORMATION, WARNING, Finding
from trajrl.formats.doctor.survey import Survey

NAMES_BOX = "--env ID or --action-box LOW HIGH names it"
PIXELS = 1000  # whole numbers in this many columns are an image


def not_numbers(survey: Survey, source: Source) -> Iterator[Finding]:
    """NaN or inf."""
    for name, tally in survey.bad.items():
        if tally.count:
            yield Finding(
                ERROR, "not_numbers", f"{tally.count} steps hold NaN or inf in {name}",
                "the first batch with one of them turns every weight into NaN; an import refuses them",
                "cuts the step out; what is before and behind becomes episodes of its own",
                tally.count, tally.where, fixed=True,
            )  # fmt: skip


def huge_numbers(survey: Survey, source: Source) -> Iterator[Finding]:
    """Sizes that no task has."""
    for name, tally in survey.huge.items():
        if tally.count:
            yield Finding(
                ERROR, "huge_numbers", f"{tally.count} steps hold numbers above 1e6 in {name}",
                "they swamp the mean and deviation that networks are normalised by",
                "cuts the step out; what is before and behind becomes episodes of its own",
                tally.count, tally.where, fixed=True,
            )  # fmt: skip


def actions_outside(survey: Survey, source: Source) -> Iterator[Finding]:
    """Actions outside the box."""
    tally = survey.outside
    if tally.count:
        share, (low, high) = (
            tally.count / survey.transitions,
            (survey.action_low.min(), survey.action_high.max()),
        )
        box = "the recorded box" if survey.boxed else "[-1, 1] (the source names no box)"
        fix = f"clips them to {box}" if survey.boxed else f"keeps them: nothing says their box; {NAMES_BOX}"
        yield Finding(
            WARNING, "actions_outside",
            f"{tally.count} steps ({share:.1%}) have an action outside {box}: from {low:.3g} to {high:.3g}",
            "a policy with tanh outputs cannot imitate them; the environment clipped what the file did not",
            fix, tally.count, tally.where, fixed=survey.boxed,
        )  # fmt: skip


def constant_rewards(survey: Survey, source: Source) -> Iterator[Finding]:
    """Rewards that say nothing."""
    if len(survey.reward_values) == 1 and "no_rewards" not in source.notes.counts:
        (value,) = survey.reward_values
        yield Finding(
            WARNING, "constant_rewards", f"all {survey.transitions} rewards are {value:g}",
            "every policy is as good as another to a critic; give rewards with the suite's task, or imitate",
            count=survey.transitions,
        )  # fmt: skip


def shifted_rewards(survey: Survey, source: Source) -> Iterator[Finding]:
    """Rewards of -1 and 0."""
    if survey.reward_values == {-1.0, 0.0}:
        yield Finding(
            WARNING, "shifted_rewards", "rewards are -1 and 0 alone: a shift by -1 was applied before",
            "shifting again when training (r - 1) gives -2 and -1, and values twice as low",
            count=survey.transitions,
        )  # fmt: skip


def constant_columns(survey: Survey, source: Source) -> Iterator[Finding]:
    """Observation columns that never vary."""
    fixed = np.flatnonzero(survey.obs_low == survey.obs_high)
    if len(fixed) and survey.transitions > 1:
        yield Finding(
            WARNING, "constant_columns",
            f"{len(fixed)} of {survey.obs_low.size} observation columns never vary: {ranges(fixed)}",
            "they carry nothing; dividing by their deviation of 0 would give NaN (trajrl does not)",
            count=len(fixed), where=f"column {fixed[0]}",
        )  # fmt: skip


def zero_rows(survey: Survey, source: Source) -> Iterator[Finding]:
    """Observations of zeros alone."""
    tally = survey.zero_rows
    if tally.count and survey.obs_low.size > 1:
        yield Finding(
            WARNING, "zero_rows", f"{tally.count} observations are zero in every column",
            "they are likely unwritten rows: the dynamics jump to the origin and back",
            count=tally.count, where=tally.where,
        )  # fmt: skip


def choices(survey: Survey, source: Source) -> Iterator[Finding]:
    """Discrete actions."""
    if (
        survey.whole_actions
        and survey.action_low.size == 1
        and survey.action_high.max() >= 1
        and survey.transitions > 9
    ):
        yield Finding(
            ERROR, "discrete_actions", "every action is a whole number: choices, not continuous actions",
            "no agent here takes discrete actions", count=survey.transitions,
        )  # fmt: skip


def pixels(survey: Survey, source: Source) -> Iterator[Finding]:
    """Images as observations."""
    if survey.whole_obs and survey.obs_low.size >= PIXELS and survey.obs_high.max() <= 255:
        yield Finding(
            ERROR, "pixels", f"observations are {survey.obs_low.size} whole numbers from 0 to 255: images",
            "as flat numbers no network sees where they touch; record them as bytes of (rows, height, width, "
            "channels)", count=survey.transitions,
        )  # fmt: skip


def duplicates(survey: Survey, source: Source) -> Iterator[Finding]:
    """Episodes that are there twice."""
    tally = survey.duplicates
    if tally.count:
        yield Finding(
            WARNING, "duplicates",
            f"{tally.count} of {survey.episodes} episodes repeat an earlier one exactly",
            "they are drawn more often than others, and a split into train and test shares them",
            "keeps the first of each", tally.count, tally.where, fixed=True,
        )  # fmt: skip


def short_episodes(survey: Survey, source: Source) -> Iterator[Finding]:
    """Episodes of one step, and far shorter ones than usual."""
    lengths = np.array(survey.lengths)
    least = max(1, int(np.median(lengths)) // 100)
    short = np.flatnonzero(lengths <= least)
    if len(short) and survey.episodes > 1 and np.median(lengths) > 1:
        what = "one step" if least == 1 else f"at most {least} steps"
        yield Finding(
            INFORMATION, "short_episodes", f"{len(short)} episodes have {what}",
            "they are kept: every step is a window, padded and masked",
            count=len(short), where=f"episode {short[0]}",
        )  # fmt: skip


def ranges(numbers: np.ndarray) -> str:
    """Write numbers as ranges: 1-3, 7."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
