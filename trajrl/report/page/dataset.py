"""The page of a data set: what it holds, episodes by return and length, samples, groups, findings, origin.

Columns are read where a chart needs them, and for the doctor once through; none is held whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.console import progress
from trajrl.formats import open_source
from trajrl.formats.doctor import examine
from trajrl.formats.doctor.examine import Report
from trajrl.report.charts import captions
from trajrl.report.charts.chart import Cloud
from trajrl.report.charts.columns import column_numbers, return_by_length
from trajrl.report.charts.dataset import histogram
from trajrl.report.charts.episode import episode_charts, quantile_episodes, returns_so_far
from trajrl.report.charts.filmstrips import episode_strips
from trajrl.report.charts.space import trajectory_cloud
from trajrl.report.page.contents import Contents, Item, Listing, Section, Table
from trajrl.report.page.dataset_facts import fact_rows, group_rows
from trajrl.report.page.dataset_findings import findings
from trajrl.store.edit.rewrite import open_to_edit
from trajrl.store.file.describe import describe_store

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

MOST_GROUPS = 18  # sources told apart by colour; beyond, episodes are told apart by phase
HEADINGS = {
    "facts": ("What it holds", "Counts, ranges and ends, as the file keeps them."),
    "episodes": ("Its episodes", "How good, how long, and from where."),
    "samples": (
        "Samples",
        "Five episodes from the worst to the best, and the one in the middle, step by step.",
    ),
    "groups": ("Groups of trajectories", "Which episodes are alike, and how they did."),
    "columns": ("Its numbers", "Every dimension of observations, actions and rewards."),
    "doctor": (
        "The doctor's findings",
        "What is known to go wrong with recorded data, looked for in all of it.",
    ),
    "origin": ("Where it comes from", "The file it was read from, and every edit since."),
}


def compose_dataset(path: Path, seed: int = 0, doctor: bool = True) -> Contents:
    """Read a store and put together everything that can be shown of it."""
    store, facts, notes = open_to_edit(path), describe_store(path), []
    report = _examined(path) if doctor else None
    if report is None:
        notes.append("the doctor was not asked (--no-doctor)")
    made: dict[str, Callable[[], list[Item]]] = {
        "facts": lambda: _facts(store, facts), "episodes": lambda: _episodes(store),
        "samples": lambda: _samples(store), "groups": lambda: _groups(store, seed),
        "columns": lambda: _numbers(store), "doctor": lambda: _doctor(report),
        "origin": lambda: _origin(facts),
    }  # fmt: skip
    sections = []
    for key, make in progress(made.items(), "looking into the store", len(made), "parts", even=False):
        try:
            sections.append(Section(key, *HEADINGS[key], make()))
        except (ValueError, OSError, ImportError, RuntimeError, KeyError, MemoryError) as error:
            notes.append(f"'{HEADINGS[key][0]}' could not be shown: {' '.join(str(error).split())}")
    sections = [section for section in sections if section.items]
    place = facts["environment"] or "no environment"
    said = findings(store, facts, sections, report)
    return Contents(f"{path.name}: {facts['episodes']:,} episodes of {place}", notes, sections, said)


def _examined(path: Path) -> Report:
    return examine(lambda: open_source(path, "trajrl"), progress)


def _facts(store: TrajectoryStore, facts: dict[str, Any]) -> list[Item]:
    """Return what the file says of itself, and each source by its episodes and ends."""
    import pandas as pd

    table = pd.DataFrame(fact_rows(facts), columns=["what", "value"])
    return [
        Table("facts", "The store", captions.FACTS, table),
        Table("sources", f"Episodes by {_by(store)}", captions.BY_SOURCE, group_rows(store, _by(store))),
    ]


def _episodes(store: TrajectoryStore) -> list[Item]:
    """Return how returns and lengths are spread, and how they go together."""
    by = _by(store)
    lengths = replace(histogram(store, "length", by), caption=captions.LENGTHS)
    return [histogram(store, "returns", by), lengths, return_by_length(store, by)]


def _samples(store: TrajectoryStore) -> list[Item]:
    """Return how returns of five episodes grow, frames of them, and one episode step by step."""
    ids = quantile_episodes(store)
    middle = ids[len(ids) // 2]
    charts = episode_charts(store.episode(middle), "sample", f"episode {middle}")
    frames = episode_strips(store, ids, "sample-frames")
    return [returns_so_far(store, ids), *([frames] if frames else []), *charts]


def _groups(store: TrajectoryStore, seed: int) -> list[Item]:
    """Return trajectories in three components, and the clusters that colour them."""
    import pandas as pd

    if len(store.live) < 2:
        raise ValueError("one episode is no group")
    own = "" if "cluster" in store.table.extra_names else " The clusters were made for this page alone."
    cloud = replace(trajectory_cloud(store, None, seed), caption=captions.TRAJECTORIES_OF_DATA + own)
    return [
        cloud,
        Table("clusters", "Clusters", captions.CLUSTERS_OF_DATA, pd.DataFrame(_cluster_rows(cloud))),
    ]


def _cluster_rows(cloud: Cloud) -> list[dict[str, Any]]:
    """Return size, length and return of each cluster of the episodes shown."""
    names, length, returns = cloud.columns["cluster"], cloud.label["length"], cloud.label["return"]
    rows = []
    for name in sorted(set(names), key=lambda name: (len(name), name)):
        own = names == name
        rows.append({
            "cluster": name, "episodes": int(own.sum()), "mean length": float(length[own].mean()),
            "mean return": float(returns[own].mean()), "std of return": float(np.std(returns[own])),
        })  # fmt: skip
    return rows


def _numbers(store: TrajectoryStore) -> list[Item]:
    rows = column_numbers(store)
    return [Table("columns", "Columns", captions.NUMBERS_OF_COLUMNS, rows)] if len(rows) else []


def _doctor(report: Report | None) -> list[Item]:
    """Return every finding as a row; a store without any says so."""
    import pandas as pd

    if report is None:
        return []
    rows = [
        (one.level, one.what, one.where or "everywhere", one.effect, one.fix) for one in report.findings
    ] or [("", "nothing was found", "", "", "")]
    columns = ["level", "what", "first", "effect on learning", "what --fix does"]
    return [Table("doctor", "Findings", captions.DOCTOR, pd.DataFrame(rows, columns=columns))]


def _origin(facts: dict[str, Any]) -> list[Item]:
    """Return the edits as a table, and the whole provenance as it is."""
    import pandas as pd

    provenance = dict(facts["provenance"])
    found: list[Item] = []
    if edits := provenance.pop("edits", []):
        rows = [
            (one["edit"], json.dumps(one["asked"]), one["from"]["file"], one["kept"]["episodes"],
             one["dropped"]["episodes"], one["dropped"]["transitions"]) for one in edits
        ]  # fmt: skip
        columns = ["edit", "asked", "of", "episodes kept", "episodes dropped", "steps dropped"]
        found.append(Table("edits", "Edits", captions.EDITS, pd.DataFrame(rows, columns=columns)))
    text = json.dumps(provenance, indent=2, default=str) if provenance else "nothing is noted"
    return [*found, Listing("provenance", "Provenance", {"as the file keeps it": text})]


def _by(store: TrajectoryStore) -> str:
    return "source" if len(set(store.table.source[store.live])) <= MOST_GROUPS else "phase"
