"""Two groups of numbers, told apart by Otsu's split.

    limit = argmax over l of n_low n_high (mean_high - mean_low)^2,   high: above l
    gap   = (mean_high - mean_low) / sqrt((var_low + var_high) / 2)

A low side of less than a fifth is no group but failures among what there is: it is set aside, and the rest is
split again.  Few high ones are kept: they are what is looked for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BINS = 256
OUTLIERS = 0.005, 0.995  # quantiles beyond which values are clipped
WIDEST = 1e6  # gap, of groups that do not vary
LEAST = 0.2  # of the values, on the low side


class Split(NamedTuple):
    """Where values are parted, and how clearly."""

    limit: float  # above it the high group; infinity where the values do not differ
    gap: float  # between the means of the groups, in their deviation; 0 where the values do not differ


def split(values: np.ndarray) -> Split:
    """Return where values (n,) are parted in two groups."""
    first, rest = otsu(values), values
    limit = first
    while np.isfinite(limit) and (rest <= limit).mean() < LEAST:
        rest = rest[rest > limit]
        if 2 * len(rest) < len(values):
            limit, rest = first, values
            break
        limit = otsu(rest)
    return Split(limit, gap(rest, limit))


def gap(values: np.ndarray, limit: float) -> float:
    """Return how far apart the means of the two groups of values (n,) lie, outliers clipped."""
    high = values > limit
    if high.all() or not high.any():
        return 0.0
    clipped = np.clip(values, *np.quantile(values, OUTLIERS))
    low, up = clipped[~high], clipped[high]
    apart, spread = up.mean() - low.mean(), np.sqrt((low.var() + up.var()) / 2)
    return float(apart / max(spread, apart / WIDEST))


def otsu(values: np.ndarray) -> float:
    """Return Otsu's split of values (n,), outliers clipped; infinity where they do not differ."""
    low, high = np.quantile(values, OUTLIERS) if len(values) else (0.0, 0.0)
    if not high > low:
        return float("inf")
    count, edges = np.histogram(np.clip(values, low, high), BINS, (low, high))
    centre = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(count)[:-1].astype(np.float64)  # (BINS - 1,) values below each split
    above = count.sum() - below
    total = np.cumsum(count * centre)
    gap = total[:-1] / np.maximum(below, 1) - (total[-1] - total[:-1]) / np.maximum(above, 1)
    return float(edges[1 + int((below * above * gap**2).argmax())])


def estimated_share(values: np.ndarray) -> float:
    """Return the share of values (n,) in the high group; 0.5 where they do not differ."""
    limit = split(values).limit
    return float((values > limit).mean()) if np.isfinite(limit) else 0.5
