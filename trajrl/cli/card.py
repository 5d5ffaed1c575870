"""The card of an exported policy: from which data, with which settings, what it scored, its licence.

It stands inside the file, as `card` among the facts, and beside it as text: FILE.card.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.json_file import read_object
from trajrl.core.paths import DEMO_STORE
from trajrl.store.notes import counted
from trajrl.store.places import named
from trajrl.training.run_dir.boards import flat
from trajrl.training.run_dir.csv_log import read_csv
from trajrl.training.run_dir.distilled import NAME, facts
from trajrl.training.run_dir.evaluations import interval
from trajrl.training.run_dir.selection import read_selection

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore
    from trajrl.training.config import RunConfig

SAID = {"True": 1.0, "False": 0.0}  # as success is written
UNNAMED = "the data names none: ask who recorded it before you pass the policy on"
DEMO = "MIT, of the demo store it was trained on (data/LICENSES.md)"


def card_file(out: Path) -> Path:
    """Return where the card of an exported file stands."""
    return out.with_name(out.name + ".card.md")


def card(
    folder: Path, config: RunConfig, step: int, store: TrajectoryStore, environment: str, which: str = "last"
) -> dict[str, Any]:
    """Return what is to be known of the policy of a step of a run.

    Args:
        store: the data that the run names
        environment: where the run evaluated, which may be the data's own; empty: nowhere
        which: the checkpoint asked for; a one-step student has a score of its own
    """
    made = read_object(folder / "versions.json") if (folder / "versions.json").exists() else {}
    return {
        "agent": config.agent, "step": step, "seed": config.seed, "environment": environment or "none",
        "data": {"name": named(config.data), "fingerprint": made.get("data_fingerprint")},
        "scores": student_scores(folder, step) if which == NAME else scores(folder, config.seed, step),
        "checkpoint": which, "selected": selected(folder, step),
        "licence": licence(store, made.get("data_fingerprint")),
        "trained_with": {name: value for name, value in made.items() if name != "data_fingerprint"},
        "config": {name: value for name, value in flat(config).items() if not _is_place(value)},
    }  # fmt: skip


def scores(folder: Path, seed: int, step: int) -> dict[str, dict[str, float]] | None:
    """Return what this very policy was evaluated at, with intervals; None: it never was."""
    rows = [row for row in read_csv(folder / "evals.csv") if int(row["step"]) == step]
    found: dict[str, dict[str, float]] = {}
    for name in ("return", "score", "success"):
        values = [SAID[row[name]] if row[name] in SAID else float(row[name]) for row in rows if row[name]]
        if values and len(values) == len(rows):
            found[name] = {**interval(np.array(values), seed, name), "episodes": len(values)}
    return found or None


def selected(folder: Path, step: int) -> dict[str, Any] | None:
    """Return by what a policy was selected among how many, and which others are as good; None: it was not."""
    found = read_selection(folder)
    if found is None or found["step"] != step:
        return None
    tied = [int(row["step"]) for row in found["policies"] if row["tied"] and int(row["step"]) != step]
    of = len(found["policies"])
    return {**{name: found[name] for name in ("by", "value", "low", "high")}, "of": of, "tied_with": tied}


def student_scores(folder: Path, step: int) -> dict[str, dict[str, float]] | None:
    """Return what the one-step student of a policy scored; None: it never did."""
    found = (facts(folder / "checkpoints", step) or {}).get("score")
    names = ("value", "low", "high", "episodes")
    return (
        {found.get("scale", "score"): {name: found[name] for name in names if name in found}}
        if found
        else None
    )


def licence(store: TrajectoryStore, trained_on: str | None) -> str:
    """Return under what the data came that the policy learned from."""
    named = store.attributes.get("licence") or store.attributes.get("license")
    if named:
        return f"{named}, of the data it was trained on"
    from trajrl.store.store import TrajectoryStore

    shipped = DEMO_STORE.exists() and trained_on == TrajectoryStore.open(DEMO_STORE).fingerprint
    return DEMO if shipped else UNNAMED


def as_text(card: dict[str, Any], name: str) -> str:
    """Write a card for a reader."""
    data = card["data"]
    lines = [
        f"# {name}", "",
        f"- policy: {card['agent']}, {card['checkpoint']}, step {card['step']}, seed {card['seed']}",
        f"- environment: {card['environment']}",
        f"- data: {data['name']}, fingerprint {data['fingerprint'] or 'not noted'}",
        *_selected(card["selected"]),
        *(_scored(card["scores"]) or ["- never run in an environment"]),
        f"- licence: {card['licence']}",
        f"- trained with: {_joined(card['trained_with']) or 'not noted'}",
        "", "## Settings", "", *(f"    {key} = {value}" for key, value in card["config"].items()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _selected(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    of, band = counted("kept polic[y|ies]", found["of"]), f"{found['low']:.4g} to {found['high']:.4g}"
    line = f"- selected by {found['by']}, of {of}: {found['value']:.4g}, 95 % interval {band}"
    tied = found["tied_with"]
    steps = f"{'steps' if len(tied) > 1 else 'step'} {', '.join(map(str, tied))}"
    return [line, *([f"- cannot be separated from it: {steps}"] if tied else [])]


def _scored(found: dict[str, dict[str, float]] | None) -> list[str]:
    return [
        f"- {name}: {one['value']:.4g}, 95 % interval {one['low']:.4g} to {one['high']:.4g}"
        + (f", over {counted('episode[s]', round(one['episodes']))}" if "episodes" in one else "")
        for name, one in (found or {}).items()
    ]


def _joined(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _is_place(value: object) -> bool:
    """Say whether a setting is a path of the machine that it was made on."""
    return isinstance(value, str) and Path(value).is_absolute()
