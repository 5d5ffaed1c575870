"""From run folders to the contents of a report; what cannot be read or shown becomes a line, never a stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajrl.core.console import progress
from trajrl.core.program import program
from trajrl.envs import NO_ENVIRONMENT
from trajrl.report.charts import captions, chosen, compare, curves, sampling, validation
from trajrl.report.charts.calibration import calibration, calibration_chart
from trajrl.report.charts.chart import Chart, Figure
from trajrl.report.charts.qfunction import explore
from trajrl.report.charts.space import state_cloud, trajectory_cloud
from trajrl.report.choices import choices, selections
from trajrl.report.draw.clips import film
from trajrl.report.frames import frame, gathered, scaled
from trajrl.report.page.contents import Clips, Contents, Item, Listing, Panel, Section, Table
from trajrl.report.page.drawn_windows import drawn_windows
from trajrl.report.page.findings import findings
from trajrl.report.page.overview import commands, differing, online_table, run_table, versions
from trajrl.report.runs.folders import RunFolder, scan
from trajrl.report.runs.rundata import open_agent, open_state_clusters, open_store
from trajrl.report.runs.tables import EPISODES, EVALS, METRICS
from trajrl.report.selection import four_scores, with_intervals

if TYPE_CHECKING:
    import pandas as pd

    from trajrl.store.store import TrajectoryStore

LOGGED = (  # column of the log, key, title, caption, label
    ("critic/td_abs", "td", "TD error", captions.TD, "mean absolute TD error"),
    ("actor/bc_loss", "bc", "Behaviour-cloning loss", captions.BC, "loss"),
    ("auroc", "auroc", "Telling sources apart: AUROC", captions.AUROC, "AUROC"),
    ("balanced_accuracy", "balanced", "Telling sources apart: balanced accuracy", captions.BALANCED, "share"),
    ("sampler/staleness_mean", "stale", "Age of priorities", captions.STALENESS, "updates"),
    ("sampler/draws/ess", "effective", "Episodes that draws are spread over", captions.EFFECTIVE, "episodes"),
    (
        "sampler/policy/draws/ess",
        "effective-policy",
        "Episodes that the policy's draws are spread over",
        captions.EFFECTIVE,
        "episodes",
    ),
)

UNFINISHED = "what was drawn is not known yet: episodes.parquet is written when a run finishes"
HEADINGS = {
    "runs": ("The runs", "What was run, how far it came, and its four scores."),
    "scores": ("Scores", "Which settings are better, and by more than chance?"),
    "choice": ("Would you have chosen right?", "How criteria without an environment order what is kept."),
    "learning": ("Learning", "What happened on the way, and what was learned from?"),
    "inside": ("Inside a run", "One run by itself: what it was made of, and what its critic believes."),
    "origin": ("Where this comes from", "Settings, versions and commands."),
}


@dataclass(frozen=True)
class Options:
    """How much of a report is made."""

    seed: int = 0
    detail: int = 3  # runs shown by themselves
    videos: int = 3  # of these, runs that are filmed
    checkpoint: str = "last"  # the policy that is looked into


@dataclass(frozen=True, eq=False)
class Frames:
    """Everything that was read, in frames."""

    folders: dict[str, RunFolder]
    runs: pd.DataFrame
    evals: pd.DataFrame
    metrics: pd.DataFrame
    episodes: pd.DataFrame
    scores: pd.DataFrame
    selected: dict[str, dict[str, Any]]  # selection.json of the runs that have one


def compose(patterns: Iterable[str | Path], options: Options) -> Contents:
    """Read the runs and put together everything that can be shown of them."""
    found = scan(patterns)
    if not found.runs:
        reasons = "; ".join(found.notes) or "nothing was named"
        raise ValueError(f"no run to report on: {reasons}.  `{program()} offline` makes one")
    read, notes = _read(found.runs)
    parts: dict[str, tuple[list[Item], list[Panel]]] = {
        "runs": ([run_table(read.runs, read.scores, read.evals)], []), "scores": (_scores(read, options), []),
        "choice": (_choice(read), []), "learning": (_learning(read), []),
        "inside": ([], _panels(read, options)), "origin": (_origin(read), []),
    }  # fmt: skip
    sections = [Section(key, *HEADINGS[key], *parts[key]) for key in HEADINGS]
    sections = [section for section in sections if section.items or section.panels]
    named = ", ".join(dict.fromkeys(env for env in read.runs["env"] if env)) or "no environment"
    count = f"{len(found.runs)} runs" if len(found.runs) > 1 else found.runs[0].name
    said = findings(read.runs, read.scores, sections)
    return Contents(f"{count} on {named}", found.notes + notes, sections, said)


def _read(folders: Sequence[RunFolder]) -> tuple[Frames, list[str]]:
    """Read every table of the runs."""
    runs = frame(folders)
    evaluations, logged, rows = (gathered(runs, kind) for kind in (EVALS, METRICS, EPISODES))
    notes = [note for table in (evaluations, logged, rows) for note in table.attrs["notes"]]
    runs = scaled(runs, evaluations)
    asked = {run.name: run.config.get("select_rank", 0) for run in folders}
    ranks = {run: rank if isinstance(rank, int) else 0 for run, rank in asked.items()}
    selected = selections({run.name: run.path for run in folders}, notes)
    scores = four_scores(evaluations, logged, ranks, {run: one["step"] for run, one in selected.items()})
    runs = with_intervals(runs, evaluations, scores)
    by_name = {run.name: run for run in folders}
    return Frames(by_name, runs, evaluations, logged, rows, scores, selected), notes


def _scores(read: Frames, options: Options) -> list[Item]:
    """Return what compares scores."""
    if not len(read.evals):
        return []
    found: list[Item | None] = [
        *_curves(read, options.seed),
        *compare.score_charts(read.runs, read.scores, options.seed),
        compare.aggregate(read.runs, read.scores, options.seed),
        compare.profiles(read.runs, read.scores, seed=options.seed),
        compare.improvements(read.runs, read.scores, seed=options.seed),
        online_table(read.runs, read.evals),
    ]
    return [item for item in found if item is not None]


def _curves(read: Frames, seed: int) -> list[Chart]:
    """Return the learning curves of each task and phase, each with its success rate beside it."""
    success = {
        one.title.partition(": ")[2]: one for one in curves.success_curves(read.runs, read.evals, seed)
    }
    scores = curves.learning_curves(read.runs, read.evals, seed)
    pairs = ((one, success.get(one.title.partition(": ")[2])) for one in scores)
    return [one for pair in pairs for one in pair if one is not None]


def _choice(read: Frames) -> list[Item]:
    """Return what says how well criteria without an environment would have chosen."""
    rows = choices(read.evals, read.metrics, read.selected).round(3)
    label = compare.value_name(read.runs["score_name"].iloc[0])
    words = "What each criterion would have chosen", captions.CHOICES
    charts = chosen.by_criterion(read.evals, read.selected, label)
    return [*([Table("choices", *words, rows)] if len(rows) else []), *charts]


def _learning(read: Frames) -> list[Item]:
    """Return what was logged over time and what was drawn, task by task and phase by phase."""
    found: list[Figure | None] = []
    parts = list(read.runs.groupby(["env", "phase"], sort=False))
    for place, ((env, phase), own) in enumerate(parts):
        of = f", {env or 'no environment'}, {phase}" if len(parts) > 1 else ""
        for column, key, title, *words in LOGGED:
            chart = curves.logged_over_time(own, read.metrics, column, f"{key}-{place}", title + of, *words)
            found.append(chart)
        found += validation.beside_training(own, read.metrics, place, of)
        found += _drawn(read, own, place, of)
    return [item for item in found if item is not None]


def _drawn(read: Frames, runs: pd.DataFrame, place: int, of: str) -> list[Figure | None]:
    """Return what was drawn beside what was there, store by store: shares of one say nothing of another."""
    stores = {name: store_of(read.folders[name]) for name in runs["run"]}
    found: list[Figure | None] = []
    for number, (_, own) in enumerate(runs.groupby(runs["run"].map(stores), sort=False)):
        several = len(set(stores.values())) > 1
        key, ending = (f"{place}-{number}", f"{of}, {own['data'].iloc[0]}") if several else (f"{place}", of)
        rows = read.episodes[read.episodes["run"].isin(own["run"])]
        for by in ("source", "returns", "phase"):
            drawn = sampling.drawn(own, rows, by)
            found.append(drawn and replace(drawn, key=f"{drawn.key}-{key}", title=drawn.title + ending))
    return found


def store_of(run: RunFolder) -> str:
    """Return what tells the store of a run from others: its content, or where nobody noted it its name."""
    return str(run.versions.get("data_fingerprint") or run.config.get("data", ""))


def _panels(read: Frames, options: Options) -> list[Panel]:
    """Return the panels of the runs shown by themselves: one of every group first, then the others."""
    first = read.runs.drop_duplicates(["env", "group"])["run"].tolist()
    order = first + [run for run in read.runs["run"] if run not in first]
    chosen = order[: options.detail]
    panels = {run: Panel(run) for run in chosen}
    parts = [
        (run, what, make)
        for place, run in enumerate(chosen)
        for what, make in _parts(read, run, options, filmed=place < options.videos)
    ]
    for run, what, make in progress(parts, "looking into runs", len(parts), "parts", even=False):
        try:
            panels[run].items += [item for item in make() if item is not None]
        except (ValueError, OSError, ImportError, RuntimeError, KeyError) as error:
            panels[run].notes.append(f"{what} could not be shown: {' '.join(str(error).split())}")
    for run, panel in panels.items():
        if not len(read.episodes[read.episodes["run"] == run]):
            panel.notes.append(UNFINISHED)
    return list(panels.values())


def _parts(
    read: Frames, run: str, options: Options, filmed: bool
) -> list[tuple[str, Callable[[], list[Item | None]]]]:
    """Return what can be shown of one run, by name, yet to be made; its data is opened once."""
    folder = read.folders[run].path
    own_runs = read.runs[read.runs["run"] == run]
    own = read.episodes[read.episodes["run"] == run]
    store = cache(lambda: _store(folder))
    tried: list[tuple[str, Callable[[], list[Item | None]]]] = [
        ("the clouds of trajectories and states", lambda: _clouds(folder, store(), own, run, options)),
        ("what was drawn", lambda: [
            sampling.row_shares(read.metrics, run), sampling.cluster_shares(read.metrics, run),
            sampling.cluster_shares(read.metrics, run, "policy"), sampling.age_shares(read.metrics, run),
            _drawn_by_cluster(own_runs, own, run),
            sampling.td_by_episode(read.episodes, run),
        ]),
        ("what was measured on held-out episodes", lambda: [
            *validation.by_third(own_runs, read.metrics[read.metrics["run"] == run], run)
        ]),
        ("the windows drawn most", lambda: [
            *drawn_windows(folder, store, run, options.checkpoint, options.seed)
        ]),
        ("the Q-function", lambda: _critic(folder, store(), run, options)),
    ]  # fmt: skip
    if filmed:
        acted = read.evals[read.evals["run"] == run]
        tried.append(("the videos", lambda: _clips(read.folders[run], run, acted)))
    return tried


def _store(folder: Path) -> TrajectoryStore:
    return open_store(folder)


def _clouds(
    folder: Path, store: TrajectoryStore, own: pd.DataFrame, run: str, options: Options
) -> list[Item | None]:
    return [
        trajectory_cloud(store, own, options.seed, f"trajectories-{run}"),
        state_cloud(store, own, options.seed, f"states-{run}", open_state_clusters(folder)),
    ]


def _drawn_by_cluster(runs: pd.DataFrame, own: pd.DataFrame, run: str) -> Figure | None:
    chart = sampling.drawn(runs, own, "cluster")
    return replace(chart, key=f"drawn-cluster-{run}") if chart else None


def _critic(folder: Path, store: TrajectoryStore, run: str, options: Options) -> list[Item | None]:
    agent, gamma = open_agent(folder, options.checkpoint)
    explorer = explore(agent, store, options.seed, f"q-{run}")
    rows = calibration(agent, store, gamma, seed=options.seed)
    return [explorer, explorer.spread(), calibration_chart(rows, f"calibration-{run}")]


def _clips(folder: RunFolder, run: str, evaluations: pd.DataFrame) -> list[Item | None]:
    if not len(evaluations):
        none = folder.config.get("env") == NO_ENVIRONMENT or (folder.finished and not folder.environment)
        raise ValueError(f"the run has no {'environment' if none else 'evaluation yet'}")
    filmed = film(folder.path, evaluations)
    return [Clips(f"videos-{run}", "Best, median and worst episode", captions.VIDEOS, filmed)]


def _origin(read: Frames) -> list[Item]:
    """Return what says where numbers come from."""
    folders = list(read.folders.values())
    listing = Listing("commands", "Commands", commands(folders))
    found: list[Item | None] = [differing(folders), versions(folders), listing if listing.lines else None]
    return [item for item in found if item is not None]
