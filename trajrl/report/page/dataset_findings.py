"""What the page of a data set opens with: sentences with numbers, each with a link to what shows it.

how much there is, and how good | which source is best | how episodes end | what the doctor says
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trajrl.formats.doctor.examine import Report
from trajrl.formats.doctor.finding import ERROR, WARNING
from trajrl.report.charts.dataset import describe_groups
from trajrl.report.page.contents import Finding, Section
from trajrl.store.notes import counted

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore


def findings(
    store: TrajectoryStore, facts: dict[str, Any], sections: Sequence[Section], report: Report | None
) -> list[Finding]:
    """Return what the page says first; a sentence whose figure is not there is left out."""
    found = [_size(facts), _ends(facts), _best_source(store), _clusters(sections), _doctor(report)]
    keys = {item.key for section in sections for item in section.items}
    return [one for one in found if one is not None and one.key in keys]


def _size(facts: dict[str, Any]) -> Finding:
    lengths, returns = facts["lengths"], facts["returns"]
    long = (
        f"{lengths['min']} to {lengths['max']} each"
        if lengths["min"] < lengths["max"]
        else f"{lengths['min']} each"
    )
    return Finding(
        f"{counted('episode[s]', facts['episodes'])} of {facts['transitions']:,} steps in all, {long}; "
        f"returns lie between {returns['min']:.4g} and {returns['max']:.4g}, mean {returns['mean']:.4g}.",
        "facts",
    )  # fmt: skip


def _ends(facts: dict[str, Any]) -> Finding:
    known = facts["episodes"] - facts["success_unknown"]
    success = "nobody noted which episodes succeeded"
    if known:
        of = "" if known == facts["episodes"] else f", of the {known:,} of which that is known"
        success = f"{facts['success']:,} of them succeed{of}"
    return Finding(
        f"{counted('[episode ends|episodes end] because the task does', facts['terminated'])}, "
        f"{counted('[was|were] cut', facts['truncated'])}; {success}.",
        "facts",
    )


def _best_source(store: TrajectoryStore) -> Finding | None:
    """Say which source earns most, and how much of the steps it is; None for a single one."""
    groups = describe_groups(store, "source")
    if len(groups) < 2:
        return None
    name = groups["return_mean"].idxmax()
    best, rest = groups.loc[name], groups.drop(index=name)
    mean = float((rest["return_mean"] * rest["episodes"]).sum() / rest["episodes"].sum())
    return Finding(
        f"Of {len(groups)} sources, {name or 'the unnamed one'} earns most: a mean return of "
        f"{best['return_mean']:.4g}, the others {mean:.4g}; it is {best['share_of_steps']:.0%} of the steps.",
        "sources",
    )


def _clusters(sections: Sequence[Section]) -> Finding | None:
    """Say which cluster earns most, where there are two or more."""
    tables = [item for section in sections for item in section.items if item.key == "clusters"]
    rows = tables[0].rows if tables else None  # type: ignore[union-attr]
    if rows is None or len(rows) < 2:
        return None
    top = rows.loc[rows["mean return"].idxmax()]
    return Finding(
        f"Trajectories fall into {len(rows)} clusters; {top['cluster']} has the highest mean return, "
        f"{top['mean return']:.4g}, and {top['episodes'] / rows['episodes'].sum():.0%} of the episodes.",
        "clusters",
    )  # fmt: skip


def _doctor(report: Report | None) -> Finding | None:
    if report is None:
        return None
    errors, warnings = report.count(ERROR), report.count(WARNING)
    worst = next((one for one in report.findings if one.level in (ERROR, WARNING)), None)
    if worst is None:
        return Finding("The doctor found nothing that stands in the way of training.", "doctor")
    return Finding(
        f"The doctor found {counted('error[s]', errors)} and {counted('warning[s]', warnings)}; first: "
        f"{worst.what}.",
        "doctor",
    )
