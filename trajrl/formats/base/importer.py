"""Import: every episode of a source into one store file, in constant memory, with a summary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.core.out_paths import refuse_existing
from trajrl.formats.base.source import Labelled, Source
from trajrl.store.action_box import SCALED, ActionBox
from trajrl.store.episode import Episode
from trajrl.store.file.writer import StoreWriter
from trajrl.store.table import PHASES, Table

MANY = 50  # steps: shorter episodes may well all end alike
Show = Callable[..., Iterator[Any]]  # (items, what, total, unit) -> the same items, shown as they go by


def quietly(items: Iterable[Any], what: str, total: int | None = None, unit: str = "") -> Iterator[Any]:
    """Yield the items and show nothing."""
    yield from items


def import_source(
    source: Source, out: Path, show: Show | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Write a store file and return its summary; a failure leaves no file."""
    refuse_existing(out, overwrite)
    box = Box()
    with StoreWriter(out, source=source.path, read=source.stores()) as writer:
        labelled = (show or quietly)(
            source.labelled(), f"import {source.path.name}", source.count, "episodes"
        )
        for episode, labels in labelled:
            box.add(episode.actions, source)
            write_labelled(writer, episode, labels)
        refuse_fruitless(source, writer.table)
        source.notes.add("actions_outside_box", box.outside, box.first)
        _note_limits(writer.table, source)
        writer.attributes.update(attributes(source))
        table, widths = writer.table, (writer.obs_moments.mean.size, box.low.size)
    return {"out": str(out), **summary(source, table, widths, box)}


def refuse_fruitless(source: Source, table: Table) -> None:
    """Refuse a source without an episode, and a range of depth where no image was depth."""
    if not len(table):
        raise ValueError(f"{source.path} gave not one episode{source.notes.because()}")
    if source.options.depth_range and "depth_made_bytes" not in source.notes.counts:
        keys = ", ".join(source.options.obs_keys)
        raise ValueError(
            f"{source.path}: --depth-range is for depth, and none of {keys} is depth; leave it out"
        )


def write_labelled(writer: StoreWriter, episode: Episode, labels: Mapping[str, Any]) -> None:
    """Write an episode with its further table columns; a store's own episodes keep their phase."""
    others = {name: value for name, value in labels.items() if name != "phase"}
    writer.append(episode, str(labels.get("phase", PHASES[0])), others)


class Box:
    """Range of the actions seen, and how many lie outside their box ([-1, 1] where it is unknown)."""

    def __init__(self) -> None:
        self.low = self.high = np.zeros(0)
        self.outside, self.first, self._episodes = 0, "", 0

    def add(self, actions: np.ndarray, source: Source) -> None:
        """Take in the actions (T, act) of one episode."""
        low, high = actions.min(0), actions.max(0)
        self.low = np.minimum(self.low, low) if self.low.size else low
        self.high = np.maximum(self.high, high) if self.high.size else high
        floor = -1.0 if source.action_low is None else source.action_low
        ceiling = 1.0 if source.action_high is None else source.action_high
        outside = (actions < floor) | (actions > ceiling)
        if outside.any() and not self.outside:
            self.first = f"episode {self._episodes}, step {int(outside.any(1).argmax())}"
        self.outside += int(outside.sum())
        self._episodes += 1


def _note_limits(table: Table, source: Source) -> None:
    """Count terminations that look like a time limit: all the terminated episodes have the largest length."""
    ended, longest = table.length[table.terminated], int(table.length.max())
    if (
        len(ended) > 1
        and longest >= MANY
        and (ended == longest).all()
        and "terminal_marks" not in source.notes.counts
    ):
        first = int(np.flatnonzero(table.terminated)[0])
        source.notes.add("terminals_at_limit", len(ended), f"episode {first}, step {longest - 1}")


def attributes(source: Source) -> dict[str, Any]:
    """Return what is kept with the store about where it came from."""
    return {**context(source), "provenance": source.provenance}


def context(source: Source) -> dict[str, Any]:
    """Return what training must know of where data was recorded; the file is not read for it."""
    found: dict[str, Any] = {"units": dict(source.units), "provenance": source.reading()}
    if source.environment:
        found["environment"] = source.environment
    if source.scaled:
        found[SCALED] = True
    if source.action_low is not None and source.action_high is not None:
        found["action_low"] = [float(v) for v in source.action_low]
        found["action_high"] = [float(v) for v in source.action_high]
        found["action_box_from"] = source.action_box_from
    return found


def summary(source: Source, table: Table, widths: tuple[int, int], box: Box) -> dict[str, Any]:
    """Return what an import found: sizes, spreads, ends by kind, and everything that was changed."""
    terminated = int(table.terminated.sum())
    return {
        "format": source.format, "episodes": len(table), "transitions": int(table.length.sum()),
        "obs_dim": widths[0], "action_dim": widths[1],
        "lengths": spread(table.length), "returns": spread(table.returns),
        "terminated": terminated, "truncated": len(table) - terminated,
        "success": int((table.success == 1).sum()), "success_known": int((table.success >= 0).sum()),
        "dropped_steps": source.notes.counts.get("dropped_steps", 0),
        "environment": source.environment, "sources": table.sources,
        "action_box": box_line(source), "action_range": [float(box.low.min()), float(box.high.max())],
        "counts": dict(source.notes.counts), "first": dict(source.notes.first), "notes": source.notes.lines(),
    }  # fmt: skip


def box_line(source: Source) -> str:
    """Say in one line which box the actions are in and where it is from."""
    if source.action_low is None or source.action_high is None:
        return (
            "actions: no box is named, so an environment of another box than [-1, 1] will ask for --actions; "
            "--action-box LOW HIGH or --env ID names it"
        )
    box = ActionBox(source.action_low, source.action_high)
    if source.scaled:
        return f"actions: in trajrl's own [-1, 1], from {source.action_box_from}; the environment scales them"
    place = f"actions: in the box {box}, from {source.action_box_from}"
    if source.notes.counts.get("actions_outside_box"):
        return f"{place}; some lie outside it, so training asks for --actions clip or another box"
    return f"{place}; the environment receives them as recorded"


def spread(values: np.ndarray) -> dict[str, float]:
    """Return minimum, mean and maximum."""
    return {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}


__all__ = [
    "Labelled", "Show", "attributes", "context", "import_source", "quietly", "spread", "summary",
    "write_labelled",
]  # fmt: skip
