"""How well a score tells expert rows from others, against source labels; baselines are 0.5 and expert_share.

auroc               probability that an expert row scores above another, ties half; 0.5 is no skill
precision_at_share  share of experts among the best rho m rows, rho = the true share of experts, its baseline
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trajrl.core.registry import unknown
from trajrl.samplers.base.distributions import average_ranks
from trajrl.samplers.base.returns import best

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore


def separation(score: np.ndarray, high: np.ndarray, expert: np.ndarray) -> dict[str, float]:
    """Compare scores (m,) and the rows called high (m,) with which rows are an expert's (m,)."""
    num_expert, num_other = int(expert.sum()), int((~expert).sum())
    if not num_expert or not num_other:
        return {}
    hit, rejected = high[expert].mean(), (~high)[~expert].mean()
    below = len(score) - 1 - average_ranks(score)  # ranks from 0, the smallest score first
    pairs = below[expert].sum() - num_expert * (num_expert - 1) / 2
    return {
        "expert_share": num_expert / len(score),
        "accuracy": float((high == expert).mean()),
        "balanced_accuracy": float((hit + rejected) / 2),
        "auroc": float(pairs / (num_expert * num_other)),
        "precision_at_share": float(best(score, num_expert)[expert].sum() / num_expert),
    }


def expert_episodes(store: TrajectoryStore, name: str) -> np.ndarray | None:
    """Return which episodes (E,) are of the expert source, or None where there are no two sources.

    Args:
        name: the expert source; empty for the one of highest mean return
    """
    table = store.table
    present = np.unique(table.source_code[store.live])
    if len(present) < 2:
        return None
    names = [table.sources[code] for code in present]
    if name and name not in names:
        raise ValueError(unknown("source", name, names))
    mean = [table.returns[store.live][table.source_code[store.live] == code].mean() for code in present]
    code = present[names.index(name)] if name else present[int(np.argmax(mean))]
    return table.source_code == code
