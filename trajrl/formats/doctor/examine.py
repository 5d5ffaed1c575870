"""Examine a source: read it through once, run every check, and say what an import would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from trajrl.formats.base.importer import Show, quietly
from trajrl.formats.base.source import Source
from trajrl.formats.d4rl.family import family_of
from trajrl.formats.doctor import ends, numbers, origin
from trajrl.formats.doctor.finding import ERROR, INFORMATION, WARNING, Finding
from trajrl.formats.doctor.noted import noted
from trajrl.formats.doctor.survey import Survey, new_survey, take
from trajrl.formats.native import Native
from trajrl.store.file.verify import verify
from trajrl.store.notes import counted

Open = Callable[[], Source]
Check = Callable[[Survey, Source], Iterable[Finding]]
CHECKS: tuple[Check, ...] = (
    numbers.not_numbers, numbers.huge_numbers, numbers.actions_outside, numbers.constant_rewards,
    numbers.shifted_rewards, numbers.constant_columns, numbers.zero_rows, numbers.choices, numbers.pixels,
    numbers.duplicates, numbers.short_episodes,
    ends.terminated_at_limit, ends.terminated_endless, ends.marked_often, ends.jumps, ends.early_rewards,
    origin.environment, origin.scores, origin.published_size, origin.strange_returns, origin.strange_columns,
    origin.old_relabelling, origin.gaps,
)  # fmt: skip


@dataclass
class Report:
    """What was found; `source` is None where it could not be opened."""

    open: Open
    source: Source | None = None
    survey: Survey | None = None
    findings: list[Finding] = field(default_factory=list)
    whole: bool = False  # the source could be read to its end

    @property
    def failed(self) -> bool:
        """Return whether there is an error."""
        return any(finding.level == ERROR for finding in self.findings)

    def count(self, level: str) -> int:
        """Return how many findings have a level."""
        return sum(finding.level == level for finding in self.findings)

    def would(self) -> dict[str, Any]:
        """Return what an import would do, as plain values; empty where it would fail."""
        if not self.whole or self.survey is None or self.source is None or survey_bad(self.survey):
            return {}
        counts, terminated = self.source.notes.counts, sum(self.survey.terminated)
        return {
            "episodes": self.survey.episodes, "transitions": self.survey.transitions,
            "terminated": terminated, "truncated": self.survey.episodes - terminated,
            "inferred": counts.get("inferred_ends", 0) + counts.get("unflagged_resets", 0),
            "actions_given_up": counts.get("dropped_steps", 0),
            "values_changed": sum(counts.get(name, 0) for name in ("cast_columns", "reshaped_columns")),
        }  # fmt: skip

    def sentence(self) -> str:
        """Return what an import would do, as a sentence."""
        if not (would := self.would()):
            return "an import would fail and write nothing"
        return (
            "an import would write {episodes} episodes of {transitions} steps: {terminated} terminated, "
            "{truncated} truncated, {inferred} ends inferred, {actions_given_up} actions given up, "
            "{changed}"
        ).format(**would, changed=counted("column[s] cast or reshaped", would["values_changed"]))


def examine(open_source: Open, show: Show = quietly) -> Report:
    """Open a source and look for everything that is known to go wrong."""
    report = Report(open_source)
    try:
        report.source = open_source()
    except FileNotFoundError:
        raise
    except (ValueError, OSError, ImportError) as error:
        report.findings.append(_unreadable(error))
        return report
    report.findings.extend(_damage(report.source))
    try:
        for episode in show(report.source.episodes(), "examining", report.source.count, "episodes"):
            report.survey = report.survey or new_survey(report.source, episode.actions.shape[1])
            take(report.survey, episode, jump_of(report.source))
        report.whole = report.survey is not None
        if not report.whole:
            report.findings.append(_unreadable(ValueError(f"{report.source.path} gave not one episode")))
    except (ValueError, OSError, ImportError) as error:
        report.findings.append(_unreadable(error))
    report.findings.extend(noted(report.source))
    if report.survey is not None:
        for check in CHECKS:
            report.findings.extend(check(report.survey, report.source))
    report.findings.sort(key=lambda finding: (ERROR, WARNING, INFORMATION).index(finding.level))
    return report


def survey_bad(survey: Survey) -> bool:
    """Return whether a column holds what a store refuses."""
    return any(tally.count for tally in survey.bad.values())


def jump_of(source: Source) -> float:
    """Return the distance that no step of a task with positions covers, by the name of the environment."""
    return family_of((0, 0), f"{source.environment or ''} {source.path.stem}").jump


def _damage(source: Source) -> Iterator[Finding]:
    """Verify a store; foreign files have nothing to verify against."""
    for line in verify(source.path) if isinstance(source, Native) else ():
        yield Finding(
            ERROR,
            "damage",
            line,
            "numbers are not what was recorded",
            "nothing: import or copy the store again",
        )


def _unreadable(error: Exception) -> Finding:
    return Finding(
        ERROR, "unreadable", " ".join(str(error).split()), "nothing can be learned from it",
        "nothing: the message says what to do",
    )  # fmt: skip
