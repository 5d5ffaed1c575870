"""What a report opens with: three to six sentences, each a number of one of its figures and a link to it.

score of the best settings, or that nothing scored them | what they drew against what was there | what the
critic believes against what followed | held-out episodes against those learned from | what the online phase
changed | where there is less than three of these, how losses went
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trajrl.report.charts.chart import Chart, Series
from trajrl.report.charts.curves import tasks
from trajrl.report.frames import SUCCESS
from trajrl.report.page.contents import Finding, Section, Table
from trajrl.training.run_dir.evaluations import shown

if TYPE_CHECKING:
    import pandas as pd

LEAST, MOST = 3, 6  # sentences
BY = ("source", "cluster", "return")  # what draws are told by: the first by which the data differs
EVEN = 0.01  # shares no further apart than this are the same
LOSSES = "bc-", "td-"  # charts of what an update makes small
LEARNED_FROM, HELD_OUT = "learned from, ", "held out, "  # how the lines of these charts begin


def findings(runs: pd.DataFrame, scores: pd.DataFrame, sections: Sequence[Section]) -> list[Finding]:
    """Return what the figures of these sections say, the most important first."""
    items = [item for section in sections for item in section.items]
    charts = [item for item in items if isinstance(item, Chart)]
    inside = [item for section in sections for panel in section.panels[:1] for item in panel.items]
    best = best_runs(runs, scores)
    found = [score(own, scores, scale) for _, scale, own in tasks(runs[runs["run"].isin(_scored(scores))])]
    found = found or [unscored(runs)]
    drew = [one for run in best["run"] if (one := drawn(runs, run, [*charts, *_charts(inside)]))]
    rest = [
        *(critic(chart) for chart in _charts(inside) if chart.key.startswith("calibration-")),
        *(held_out(chart) for chart in charts if chart.key.startswith("held-out-bc_loss-")),
        *(online(item) for item in items if isinstance(item, Table) and item.key == "online"),
    ]
    said = [one for one in (*found[:2], *drew[:1], *rest, *drew[1:]) if one is not None][:MOST]
    losses = [one for chart in charts if chart.key.startswith(LOSSES) and (one := went(chart))]
    return [*said, *losses[: max(0, LEAST - len(said))]]


def best_runs(runs: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return of each environment and phase the run that ends highest, or the first if none was scored."""
    last = scores.set_index("run")["last"] if len(scores) else {}
    ranked = runs.assign(final=[last.get(run, -np.inf) for run in runs["run"]])
    return ranked.sort_values("final", ascending=False, kind="stable").drop_duplicates(["env", "phase"])


def score(own: pd.DataFrame, scores: pd.DataFrame, scale: str) -> Finding:
    """Say which of an environment's runs ends highest, with its interval over evaluation episodes."""
    last = scores.set_index("run")["last"]
    values = own["run"].map(last)
    top, low = own.loc[values.idxmax()], own.loc[values.idxmin()]
    name = "success rate" if scale == SUCCESS else "score" if scale else "return"
    words = f"run {top['run']} ({top['group']}) ends at {name} {_with_ends(top, last[top['run']], scale)}"
    if len(own) > 1:
        words = f"Of {len(own)} runs on {top['env']}, {words}, and run {low['run']} lowest, at "
        words += shown(float(last[low["run"]]), scale)
    words = words[0].upper() + words[1:]
    if scale != SUCCESS and np.isfinite(top["last_success"]):
        words += f"; {top['last_success']:.0%} of its episodes succeed"
    average = top["data_success"] if scale == SUCCESS else top["data_score"]
    average = average if np.isfinite(average) or scale == SUCCESS else top["data_return"]
    if np.isfinite(average):
        words += f"; the average of the data is {shown(float(average), scale)}"
    return Finding(f"{words}.", "run-table")


def unscored(runs: pd.DataFrame) -> Finding:
    """Say what there is where no run was scored: runs, and what the data itself earned."""
    first = runs.iloc[0]
    words, whose = f"Nothing scored run {first['run']} ({first['group']})", "its"
    if len(runs) > 1:
        words, whose = f"Nothing scored these {len(runs)} runs", "their"
    average = first["data_return"]
    if np.isfinite(average) and runs["data"].nunique() == 1:
        words += f"; the episodes of {whose} data have an average return of {average:.3g}"
    return Finding(f"{words}.", "run-table")


def went(chart: Chart) -> Finding | None:
    """Say from where to where a logged number went, of the first settings that logged it twice."""
    for one in chart.series:
        if len(one.y) > 1 and np.isfinite(one.y[[0, -1]]).all():
            what = chart.title.partition(",")[0]
            what = what if what[:2].isupper() else what[0].lower() + what[1:]
            ends = f"from {one.y[0]:.3g} to {one.y[-1]:.3g}"
            return Finding(f"The {what} of {one.name.partition(' (')[0]} went {ends}.", chart.key)
    return None


def _with_ends(run: pd.Series, value: float, scale: str) -> str:
    """Write a run's last score and between what its interval lies, where it is known."""
    text, ends = shown(float(value), scale), (run["last_low"], run["last_high"])
    if not np.isfinite(ends[0]):
        return text
    return f"{text}, between {shown(float(ends[0]), scale)} and {shown(float(ends[1]), scale)}"


def drawn(runs: pd.DataFrame, run: str, charts: Sequence[Chart]) -> Finding | None:
    """Say what a run's settings drew more of, or less, than the data holds; None if nothing is known."""
    group, phase = runs.loc[runs["run"] == run, ["group", "phase"]].iloc[0].astype(str)
    both = ", in both phases together," if phase == "online" else ""  # an episode's draws are counted on
    for kind in BY:
        for chart in (one for one in charts if one.key.startswith(f"drawn-{_column(kind)}")):
            data, own = chart.series[0], _of_group(chart.series[1:], group)
            if own is not None:
                return Finding(_told(kind, data, own, f"{group}{both}"), chart.key)
    return None


def _column(kind: str) -> str:
    return "returns" if kind == "return" else kind


def _of_group(series: Sequence[Series], group: str) -> Series | None:
    """Return what a group drew; for the policy where it draws for each role."""
    return next((one for one in series if one.name.endswith(f", {group}")), None)


def _told(kind: str, data: Series, own: Series, group: str) -> str:
    """Say of which kind most was drawn beyond its share of the data."""
    place = int((own.y - data.y).argmax())
    name, share, there = str(data.x[place]), own.y[place], data.y[place]
    role = " for the policy" if " for the policy" in own.name else ""
    what = {"source": f"episodes of source {name}", "return": f"episodes with a return of {name}"}.get(
        kind, name
    )
    if np.abs(own.y - data.y).max() <= EVEN:
        return f"{group} drew{role} from each {kind} what the data holds of it, within {EVEN:.0%}."
    return f"{group} drew{role} {share:.0%} of its steps from {what}, which are {there:.0%} of the data."


def critic(chart: Chart) -> Finding | None:
    """Say by how many per cent the critic lies above or below the returns that followed."""
    (steps,) = chart.series
    followed, believed = float(np.mean(steps.x)), float(np.mean(steps.y))
    run = chart.key.removeprefix("calibration-")
    if not abs(followed) > 1e-9:
        return None
    off = (believed - followed) / abs(followed)
    way = "overestimates" if off > 0 else "underestimates"
    return Finding(
        f"The critic of run {run} {way} what followed in the data by {abs(off):.0%}: mean Q {believed:.3g}, "
        f"mean return {followed:.3g}, over {len(steps.x)} steps.", chart.key,
    )  # fmt: skip


def held_out(chart: Chart) -> Finding | None:
    """Say how far the cloning loss on held-out episodes lies from that on episodes learned from."""
    by_name = {one.name: one for one in chart.series}
    for name, held in by_name.items():
        group = name.removeprefix(HELD_OUT)
        seen, group = by_name.get(LEARNED_FROM + group), group.partition(" (")[0]
        if name.startswith(HELD_OUT) and seen is not None and seen.y[-1] > 0:
            off = _relative(held.y[-1] / seen.y[-1] - 1)
            return Finding(
                f"On held-out episodes the behaviour-cloning loss of {group} ends at {held.y[-1]:.3g}, {off} "
                f"that on episodes it learned from ({seen.y[-1]:.3g}).", chart.key,
            )  # fmt: skip
    return None


def _relative(off: float) -> str:
    return f"{abs(off):.0%} {'above' if off > 0 else 'below'}"


def online(table: Table) -> Finding:
    """Say what the online phase brought to the run that gained most, and what it cost on the way."""
    row = table.rows.loc[table.rows["gain"].idxmax()]
    went = f"Online, run {row['run']} went from {row['before']:.3g} to {row['last']:.3g}"
    if row["drop"] > 0:
        return Finding(f"{went}; at the worst it lay {row['drop']:.3g} below where it began.", table.key)
    return Finding(f"{went}, and no evaluation lay below where it began.", table.key)


def _charts(items: Sequence[object]) -> Iterator[Chart]:
    yield from (item for item in items if isinstance(item, Chart))


def _scored(scores: pd.DataFrame) -> list[str]:
    return scores.loc[scores["last"].notna(), "run"].tolist() if len(scores) else []
