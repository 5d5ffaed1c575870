"""The table that decides among samplers: each beside uniform draws, seed by seed, and what must hold.

    s     = mean of a run's last five evaluations, or per cent of successes
    d     = s(sampler, seed) - s(uniform, seed)      of the same agent, data and seed
    won   = seeds with d > 0, lost those with d < 0
    P     = P(a run of the sampler > a run of uniform), both drawn from the seeds there are

Runs that have ended count, as they ended.  Over agents, means are of each agent's mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from evidence_tables import heading
from gauntlet_tables import Floor, floors_shown, less, runs, spread
from sampler_trials import AGENTS, LATE, MIXTURES, RANDOM, SAMPLERS, UNDER

from trajrl.report.stats import improvement

UNIFORM, WEIGHTED, AUTO = "uniform", "weighted", "auto"
RUN = ["data", "agent", "seed"]  # what two runs that are compared have in common
TIE = 2.0  # points that two samplers may lie apart and still be level


def tables(rows: pd.DataFrame) -> str:
    """Return the three tables as markdown: by mixture, by sampler, what must hold."""
    done = ended(rows) if len(rows) else rows
    if done.empty:
        return "No run has ended yet."
    side = beside_each_other(done)
    return "\n\n".join(
        (by_mixture(done, side), by_sampler(side), floors_shown(list(floors(side)), "a sampler"))
    )


def ended(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a line for each run that has ended: its agent and sampler, what drew in it, its score."""
    last = rows.dropna(subset=["last"]).set_index(["data", "cell", "seed"])
    drawn = (last["drawn"] if "drawn" in last else pd.Series("", last.index)).fillna("").to_dict()
    done = runs(rows)
    keys = list(zip(done.data, done.cell, done.seed))
    done = done[[key in drawn for key in keys]]
    names = [cell.rpartition(f" {UNDER} ") for cell in done.cell]
    return done.assign(
        sampler=[name for name, _, _ in names], agent=[agent for _, _, agent in names],
        drawn=[drawn[key] for key in keys if key in drawn],
    )  # fmt: skip


def beside_each_other(done: pd.DataFrame) -> pd.DataFrame:
    """Return scores, a line for each data, agent and seed, a column for each sampler; NaN: not there."""
    return done.pivot(index=RUN, columns="sampler", values="five").reindex(columns=list(SAMPLERS))


def above_uniform(side: pd.DataFrame, sampler: str) -> pd.Series:
    """Return d, where both runs are there."""
    return (side[sampler] - side[UNIFORM]).dropna()


def by_mixture(done: pd.DataFrame, side: pd.DataFrame) -> str:
    """Return a line for each mixture, agent and sampler."""
    lines = heading(["data", "agent", "sampler", "score", "above uniform", "won, lost", "P(better)", "seeds"])
    groups = dict(tuple(done.groupby(["data", "agent", "sampler"])))
    for data in MIXTURES:
        for agent in AGENTS:
            for sampler in SAMPLERS:
                own = groups.get((data, agent, sampler))
                if own is None:
                    continue
                d = (
                    above_uniform(side, sampler).xs((data, agent))
                    if (data, agent) in paired(side, sampler)
                    else None
                )
                cells = [
                    spread(own.five, 1),
                    *compared(own, d, groups.get((data, agent, UNIFORM))),
                    str(len(own)),
                ]
                lines.append("| " + " | ".join([data, agent, titled(sampler, own), *cells]) + " |")
    return "\n".join(lines)


def paired(side: pd.DataFrame, sampler: str) -> set[Any]:
    """Return the data and agents of which a sampler, not uniform itself, has a run beside uniform's."""
    found = above_uniform(side, sampler)
    return set() if sampler == UNIFORM else {key[:2] for key in found.index}


def titled(sampler: str, own: pd.DataFrame) -> str:
    """Return a sampler's name; of auto, what it decided for as well."""
    decided = sorted(set(own.drawn) - {""})
    return f"{sampler}: {', '.join(decided)}" if sampler == AUTO and decided else sampler


def compared(own: pd.DataFrame, d: pd.Series | None, uniform: pd.DataFrame | None) -> list[str]:
    """Return what a sampler is above uniform, seeds won and lost, and the probability of being better."""
    if d is None or uniform is None:
        return ["", "", ""]
    probability = ""
    if min(len(own), len(uniform)) > 1:
        found = improvement([own.five.to_numpy()], [uniform.five.to_numpy()])
        probability = f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
    return [spread(d, 1), f"{(d > 0).sum()}, {(d < 0).sum()}", probability]


def by_sampler(side: pd.DataFrame) -> str:
    """Return a line for each sampler: on how many mixtures it is above uniform or below."""
    counted = f"above by {TIE:.0f}", "level", f"below by {TIE:.0f}"
    lines = heading(["sampler", "mixtures", *counted, "least", "mean above uniform"])
    for sampler in list(SAMPLERS)[1:]:
        d = by_agent(above_uniform(side, sampler)).mean(axis=1)
        if len(d):
            counts = [len(d), (d > TIE).sum(), (d.abs() <= TIE).sum(), (d < -TIE).sum()]
            cells = [*map(str, counts), f"{d.min():.1f} ({d.idxmin()})", f"{d.mean():.1f}"]
            lines.append("| " + " | ".join([sampler, *cells]) + " |")
    return "\n".join(lines)


def by_agent(values: pd.Series) -> pd.DataFrame:
    """Return the means over seeds, a line for each data, a column for each agent."""
    means = values.groupby(["data", "agent"], sort=False).mean()
    return means.unstack("agent").reindex(columns=list(AGENTS))


def over_agents(values: pd.Series) -> dict[Any, float]:
    """Return by data the mean over all agents; nothing where one of them is missing."""
    return by_agent(values).mean(axis=1, skipna=False).dropna().to_dict()


def floors(side: pd.DataFrame) -> Iterator[Floor]:
    """Yield what auto and a late draw by return must reach on every mixture, of all three agents."""
    auto = over_agents(above_uniform(side, AUTO))
    for data in MIXTURES:
        yield Floor("auto, above uniform", data, 15.0 if data in RANDOM else -TIE, auto.get(data))
    three = side[[LATE, UNIFORM, WEIGHTED]].dropna()  # the same seeds of each
    late, uniform, weighted = (over_agents(three[name]) for name in three)
    for data in MIXTURES:
        better = max(uniform[data], weighted[data]) if data in late else None
        ahead = less(late.get(data), better)
        yield Floor("late, above the better of uniform and weighted", data, -TIE, ahead)
    for data in RANDOM:
        yield Floor("late, above weighted", data, 10.0, less(late.get(data), weighted.get(data)))
        yield Floor("late, above uniform", data, 30.0, less(late.get(data), uniform.get(data)))
