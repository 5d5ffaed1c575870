"""Can the critic tell good data from bad?  What runs logged of it, and Q against the sources by hand.

Baselines: 0.5 for balanced accuracy and AUROC, the expert's own share for precision.  Of data from a single
source nothing is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trajrl.core.rng import stream
from trajrl.report.charts import captions
from trajrl.report.charts.chart import Chart, Series
from trajrl.report.charts.qfunction import q_of_data
from trajrl.samplers.base.expert_auroc import expert_episodes, separation

if TYPE_CHECKING:
    import pandas as pd

    from trajrl.agents.base.protocol import Agent
    from trajrl.store.store import TrajectoryStore

MEASURES = ("accuracy", "balanced_accuracy", "auroc", "precision_at_share", "expert_share")


def measures(logged: pd.DataFrame) -> pd.DataFrame:
    """Return what runs logged of how well they tell sources apart: run, step and a column per measure."""
    columns = {}
    for measure in MEASURES:
        found = [name for name in logged.columns if name.endswith(f"/{measure}")]
        if found:
            columns[measure] = logged[found].bfill(axis=1).iloc[:, 0]
    table = logged[["run", "step"]].assign(**columns)
    return table.dropna(subset=list(columns), how="all") if columns else table[:0]


def judge_by_q(
    agent: Agent, store: TrajectoryStore, expert: str = "", count: int = 2000, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return steps drawn from the data with their Q, source and verdict (Q above the mean), and the measures.

    Args:
        expert: the source that counts as expert; empty for the one of highest mean return
    """
    import pandas as pd

    experts = expert_episodes(store, expert)
    if experts is None:
        raise ValueError("the data has a single source: there is nothing to tell apart")
    length = store.table.length[store.live]
    total = np.cumsum(length)
    row = np.sort(
        stream(seed, "report/quality").choice(int(total[-1]), min(count, int(total[-1])), replace=False)
    )
    place = np.searchsorted(total, row, side="right")
    episode, step = store.live[place], row - (total - length)[place]
    q = q_of_data(agent, store, episode, step)
    verdict = q > q.mean()
    rows = pd.DataFrame({"episode": episode, "step": step, "source": store.table.source[episode],
                         "expert": experts[episode], "q": q, "called_good": verdict})  # fmt: skip
    return rows, separation(q.astype(np.float64), verdict, experts[episode])


def q_by_source(rows: pd.DataFrame) -> Chart:
    """Return how Q is spread over the steps of each source."""
    edges = np.histogram_bin_edges(rows["q"], 30)
    middle = (edges[:-1] + edges[1:]) / 2
    series = [
        Series(str(name) or "unnamed", middle, np.histogram(own["q"], edges, density=True)[0], place=place)
        for place, (name, own) in enumerate(rows.groupby("source"))
    ]
    return Chart("q-by-source", "Q by source", captions.Q_BY_SOURCE, "Q", "density", series, kind="bins")
