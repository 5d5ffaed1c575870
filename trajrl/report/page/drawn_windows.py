"""Frames of the windows that a run of images drew most and least, from the counts of its last checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trajrl.report.charts.filmstrips import Filmstrips, window_strips
from trajrl.report.runs.rundata import open_agent, open_window_draws
from trajrl.training.run_dir.window_draws import padded

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore


def drawn_windows(
    folder: Path, opened: Callable[[], TrajectoryStore], run: str, checkpoint: str, seed: int
) -> Iterator[Filmstrips]:
    """Yield a set of strips for each role that draws; none where nothing was counted, as without images."""
    found = open_window_draws(folder)
    if not found:
        return
    store, spec = opened(), open_agent(folder, checkpoint)[0].spec
    for role, counts in found.items():
        of = role if len(found) > 1 else ""
        draws = padded(counts, len(store.actions))  # a run under way has episodes that came since
        yield window_strips(store, draws, spec, seed, f"windows-{role}-{run}", of)
