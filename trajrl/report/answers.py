"""What a notebook ends with: the answer to its question, in sentences from the numbers of its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trajrl.report.charts import dataset
from trajrl.report.charts.chart import Chart
from trajrl.report.charts.curves import tasks
from trajrl.report.page import findings

if TYPE_CHECKING:
    import pandas as pd

    from trajrl.report.page.contents import Table
    from trajrl.samplers.clustering.fit import Clustering
    from trajrl.store.store import TrajectoryStore

SHORT = 5000  # updates below which a run says little of its settings
CHANCE = 0.5  # of balanced accuracy and AUROC


def of_data(store: TrajectoryStore, clustering: Clustering) -> list[str]:
    """Say what the sources hold and return, and whether clusters follow them."""
    rows = dataset.describe_groups(store, "source")
    said = [f"The data is {len(store)} episodes of {_counted(len(rows), 'source')}, {store.num_steps} steps."]
    if len(rows) > 1:
        for word, name in (("most", rows["return_mean"].idxmax()), ("least", rows["return_mean"].idxmin())):
            row = rows.loc[name]
            said.append(
                f"Source {name} returns {word}, {row['return_mean']:.4g} on average, "
                f"in {row['share_of_steps']:.0%} of the steps."
            )
        table = store.table.to_frame()
        pairs = table[table["alive"]].groupby(["cluster", "source"]).size()
        pure = pairs.groupby("cluster").max().sum() / pairs.sum()
        said.append(
            f"{_counted(clustering.count, 'cluster')} of trajectories: {pure:.0%} of the episodes are of the "
            "source commonest in their cluster."
        )
    return said


def of_draws(runs: pd.DataFrame, episodes: pd.DataFrame, charts: Sequence[Chart]) -> list[str]:
    """Say of each group of runs what it drew beyond its share of the data, and how much was never drawn."""
    said = []
    for group, own in runs.groupby("group", sort=False):
        found = findings.drawn(runs, own["run"].iloc[0], charts)
        said += [found.text] if found else []
        drawn = episodes[episodes["run"].isin(own["run"])]
        said.append(f"Of the episodes of {group}, {(drawn['draws'] == 0).mean():.0%} were never drawn.")
    return [*said, *caveat(runs)]


def of_scores(runs: pd.DataFrame, scores: pd.DataFrame, beats: Chart | None) -> list[str]:
    """Say which run ends highest, and of each pair of groups whether they can be told apart."""
    scored = runs[runs["run"].isin(scores["run"])]
    said = [findings.score(own, scores, scale).text for _, scale, own in tasks(scored)]
    for one in beats.series if beats else ():
        assert one.low is not None  # improvements have intervals
        assert one.high is not None
        for pair, value, low, high in zip(one.x, one.y, one.low, one.high):
            apart = "told apart" if low > CHANCE or high < CHANCE else "not told apart"
            said.append(f"{pair} in {value:.0%} of pairs of runs, between {low:.0%} and {high:.0%}: {apart}.")
    return [*said, *caveat(runs)]


def of_critic(runs: pd.DataFrame, run: str, chart: Chart, bias: pd.DataFrame) -> list[str]:
    """Say how far the critic lies from what followed, whether it ranks, and what n-step targets do."""
    (steps,) = chart.series
    found = findings.critic(Chart(f"calibration-{run}", "", "", "", "", [steps], chart.kind))
    said = [found.text] if found else []
    rows = _frame(q=steps.y, followed=steps.x)
    rank = rows["q"].rank().corr(rows["followed"].rank())
    said.append(f"It ranks steps as what followed does with a rank correlation of {rank:.2f}; 1 is the same.")
    ends = ", ".join(f"{row.bias:+.3g} at n = {row.n:.0f}" for row in bias.iloc[[0, -1]].itertuples())
    return [*said, f"Targets of n steps lie off the return by {ends}.", *caveat(runs[runs["run"] == run])]


def of_quality(runs: pd.DataFrame, found: dict[str, float]) -> list[str]:
    """Say how well the critic tells the best source from the others, beside chance."""
    measured = f"balanced accuracy {found['balanced_accuracy']:.2f}, AUROC {found['auroc']:.2f}"
    return [
        f"The critic's Q alone tells a step of the best source from the others with {measured}; "
        f"chance gives {CHANCE}.",
        f"That source is {found['expert_share']:.0%} of the steps; of as many with the highest Q, "
        f"{found['precision_at_share']:.0%} are its own.",
        *caveat(runs),
    ]


def of_online(table: Table, evaluations: pd.DataFrame, shares: Sequence[Chart]) -> list[str]:
    """Say what the online phase brought, what it cost on the way, and what its last updates came from."""
    said = [findings.online(table).text]
    for chart in shares[:1]:
        parts = ", ".join(f"{one.name} {one.y[-1]:.0%}" for one in chart.series)
        said.append(f"The last updates came from: {parts}.")
    longest = evaluations.loc[evaluations["run"].isin(table.rows["run"]), "step"].max()
    return [*said, *_short(longest, "environment steps")]


def caveat(runs: pd.DataFrame) -> list[str]:
    """Say of short runs that they are no evidence; nothing of others."""
    return _short(runs["steps"].max(), "updates")


def _short(longest: float, what: str) -> list[str]:
    words = f"No run here is longer than {longest:.0f} {what}: they show how to read, and decide nothing."
    return [words] if longest < SHORT else []


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _frame(**columns: object) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns)
