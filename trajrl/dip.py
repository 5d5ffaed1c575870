"""Dip: what going online cost before it paid.

before      the score of the offline policy, at environment step 0
dip         how far the worst later evaluation lies below it, and where it was made up for
regret      the mean shortfall below it over the phase:  1/S integral of max(0, before - score(s)) ds
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from trajrl.scores import Evaluation
    from trajrl.store.store import TrajectoryStore


def dip(evaluations: Sequence[Evaluation]) -> dict[str, float | None]:
    """Return before, last, gain, dip, dip_step, recovered_step and regret; nothing before an evaluation."""
    if not evaluations:
        return {}
    step = np.array([found.step for found in evaluations], np.float64)  # (M,) the first is 0
    score = np.array([found.value for found in evaluations])
    short = np.maximum(0.0, score[0] - score)  # (M,)
    worst = int(short.argmax())
    again = np.flatnonzero((short == 0) & (step > step[worst])) if short[worst] > 0 else np.zeros(0, int)
    regret = float(np.trapezoid(short, step) / step[-1]) if step[-1] else 0.0
    return {
        "before": float(score[0]), "last": float(score[-1]), "gain": float(score[-1] - score[0]),
        "dip": float(short[worst]), "dip_step": float(step[worst]) if short[worst] > 0 else None,
        "recovered_step": float(step[again[0]]) if len(again) else None, "regret": regret,
    }  # fmt: skip


class Rows:
    """Counts the rows of the updates of this phase by the source of their episodes."""

    def __init__(self, store: TrajectoryStore) -> None:
        self.store = store
        self.counts = np.zeros(0, np.int64)  # (sources,) in the table's order

    def add(self, episode: np.ndarray) -> None:
        """Take in the episodes (B,) of one batch."""
        found = np.bincount(self.store.table.source_code[episode], minlength=len(self.counts))
        found[: len(self.counts)] += self.counts
        self.counts = found

    def shares(self) -> dict[str, float]:
        """Return the share of each source that gave a row."""
        total = max(1, int(self.counts.sum()))
        names = self.store.table.sources
        return {names[code] or "unnamed": float(n / total) for code, n in enumerate(self.counts) if n}

    def state_dict(self) -> dict[str, Any]:
        """Return the counts."""
        return {"counts": self.counts.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the counts back."""
        self.counts = np.array(state["counts"], np.int64)
