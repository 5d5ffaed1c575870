"""Which rows are high: their score, Q beyond the mean of their group, against a threshold per group.

    score = q - mean_group q      mean: score > 0      quantile: score > its (1 - share) quantile per group

The share of high rows may be estimated by Otsu's method: the split of the scores' histogram that puts most
of their variance between the two sides.
"""

from __future__ import annotations

import numpy as np

THRESHOLDS = ("mean", "quantile")
BINS = 256


def group_scores(q: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return q (m,) minus the mean of its group."""
    mean = np.bincount(group, q) / np.maximum(1, np.bincount(group))  # (C,)
    return q - mean[group]


def is_high(score: np.ndarray, group: np.ndarray, threshold: str, share: float) -> np.ndarray:
    """Return for each row (m,) whether it is high; rows that are all equal are all low."""
    limit = np.zeros(int(group.max(initial=0)) + 1)
    if threshold == "quantile":
        for c in np.unique(group):
            limit[c] = np.quantile(score[group == c], 1 - share)
    rounding = 1e-9 * max(1.0, float(np.abs(score).max(initial=0)))
    return score > limit[group] + rounding


def estimated_share(score: np.ndarray) -> float:
    """Return the share of rows above Otsu's split; 0.5 where the scores do not differ."""
    low, high = np.quantile(score, (0.005, 0.995))
    if not high > low:
        return 0.5
    count, edges = np.histogram(np.clip(score, low, high), BINS, (low, high))
    centre = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(count)[:-1].astype(np.float64)  # (BINS - 1,) rows below each split
    above = count.sum() - below
    total = np.cumsum(count * centre)
    gap = total[:-1] / np.maximum(below, 1) - (total[-1] - total[:-1]) / np.maximum(above, 1)
    best = int((below * above * gap**2).argmax())
    return float(above[best] / count.sum())
