"""The table that decides among samplers: each law beside uniform draws, seed by seed, and what must hold.

s     = mean of a run's last five evaluations, or per cent of successes
d     = s(law, seed) - s(uniform, seed)      of the same agent, data and seed
won   = seeds with d > 0, lost those with d < 0
P     = P(a run of the law > a run of uniform), both drawn from the seeds there are
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from evidence_tables import heading
from gauntlet_tables import Floor, floors_shown, less, runs, spread
from gauntlet_trials import updates_of
from sampler_trials import LATE, LAWS, MIXTURES, RANDOM

from trajrl.report.stats import improvement

UNIFORM, WEIGHTED, AUTO = "uniform", "weighted", "auto"
TIE = 2.0  # points that two laws may lie apart and still be level


def whole_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a line for each run that has ended: its agent and law, its score, how far above uniform's."""
    done = runs(rows)
    done[["agent", "law"]] = done.cell.str.split(", ", n=1, expand=True)
    done = done[done.updates == done.agent.map(updates_of)]
    of_uniform = done[done.law == UNIFORM].set_index(["data", "agent", "seed"])["five"]
    beside = pd.MultiIndex.from_frame(done[["data", "agent", "seed"]])
    return done.assign(d=done.five - of_uniform.reindex(beside).to_numpy(), drawn=drawn_of(rows, done))


def drawn_of(rows: pd.DataFrame, done: pd.DataFrame) -> list[str]:
    """Return what drew in each run: of auto, what it decided for."""
    if "drawn" not in rows:
        return [""] * len(done)
    known = rows.dropna(subset=["drawn"]).set_index(["data", "cell", "seed"])["drawn"].to_dict()
    return [known.get(key, "") for key in zip(done.data, done.cell, done.seed)]


def tables(rows: pd.DataFrame) -> str:
    """Return the three tables as markdown: by mixture, by law, what must hold."""
    done = whole_runs(rows)
    return "\n\n".join((by_mixture(done), by_law(done), floors_shown(list(floors(done)), "a law")))


def by_mixture(done: pd.DataFrame) -> str:
    """Return a line for each mixture, agent and law."""
    lines = heading(["data", "agent", "law", "score", "above uniform", "won, lost", "P(better)", "seeds"])
    for data in MIXTURES:
        for agent, of_agent in done[done.data == data].groupby("agent", sort=False):
            uniform = of_agent[of_agent.law == UNIFORM]
            for law in LAWS:
                own = of_agent[of_agent.law == law]
                if len(own):
                    cells = [spread(own.five, 1), *beside(own, uniform), str(len(own))]
                    lines.append("| " + " | ".join([data, str(agent), named(law, own), *cells]) + " |")
    return "\n".join(lines)


def named(law: str, own: pd.DataFrame) -> str:
    """Return a law's name; of auto, what it decided for as well."""
    decided = sorted(set(own.drawn) - {""})
    return f"{law}: {', '.join(decided)}" if law == AUTO and decided else law


def beside(own: pd.DataFrame, uniform: pd.DataFrame) -> list[str]:
    """Return what a law is above uniform, seeds won and lost, and the probability of being better."""
    d = own.d.dropna()
    if own.law.iloc[0] == UNIFORM or not len(d):
        return ["", "", ""]
    chance = ""
    if min(len(own), len(uniform)) > 1:
        found = improvement([own.five.to_numpy()], [uniform.five.to_numpy()])
        chance = f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
    return [spread(d, 1), f"{(d > 0).sum()}, {(d < 0).sum()}", chance]


def by_law(done: pd.DataFrame) -> str:
    """Return a line for each law: on how many mixtures it is above uniform or below, agents pooled."""
    counted = f"above by {TIE:.0f}", "level", f"below by {TIE:.0f}"
    lines = heading(["law", "mixtures", *counted, "least", "mean above uniform"])
    for law in list(LAWS)[1:]:
        d = pooled(done, law, "d")
        if len(d):
            counts = [len(d), (d > TIE).sum(), (d.abs() <= TIE).sum(), (d < -TIE).sum()]
            cells = [*map(str, counts), f"{d.min():.1f} ({d.idxmin()})", f"{d.mean():.1f}"]
            lines.append("| " + " | ".join([law, *cells]) + " |")
    return "\n".join(lines)


def pooled(done: pd.DataFrame, law: str, what: str) -> pd.Series:
    """Return the mean of a column by mixture: over seeds of each agent, then over agents."""
    own = done[(done.law == law) & done[what].notna()]
    return own.groupby(["data", "agent"], sort=False)[what].mean().groupby("data", sort=False).mean()


def floors(done: pd.DataFrame) -> Iterator[Floor]:
    """Yield what auto and a late draw by return must reach on every mixture."""
    by: dict[str, dict[Any, float]] = {law: pooled(done, law, "five").to_dict() for law in LAWS}
    auto, late = pooled(done, AUTO, "d").to_dict(), by[LATE]
    for data in MIXTURES:
        yield Floor("auto, above uniform", data, 15.0 if data in RANDOM else -TIE, auto.get(data))
    for data in MIXTURES:
        better = float(np.max([by[law].get(data, np.nan) for law in (UNIFORM, WEIGHTED)]))
        ahead = less(late.get(data), better)
        yield Floor("late, above the better of uniform and weighted", data, -TIE, ahead)
    for data in RANDOM:
        for law, least in ((WEIGHTED, 10.0), (UNIFORM, 30.0)):
            yield Floor(f"late, above {law}", data, least, less(late.get(data), by[law].get(data)))
