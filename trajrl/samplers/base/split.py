"""Two groups of numbers, told apart by Otsu's split.

    limit = argmax over l of n_low n_high (mean_high - mean_low)^2,   high: above l

A low side of less than a fifth is no group but failures among what there is: it is set aside, and the rest is
split again.  Few high ones are kept: they are what is looked for.
"""

from __future__ import annotations

import numpy as np

BINS = 256
LEAST = 0.2  # of the values, on the low side


def split(values: np.ndarray) -> float:
    """Return the limit above which values (n,) are the high group; infinity where they do not differ."""
    first = limit = otsu(values)
    rest = values
    while np.isfinite(limit) and (rest <= limit).mean() < LEAST:
        rest = rest[rest > limit]
        if 2 * len(rest) < len(values):
            return first
        limit = otsu(rest)
    return limit if np.isfinite(limit) else first


def otsu(values: np.ndarray) -> float:
    """Return Otsu's split of values (n,), outliers clipped; infinity where they do not differ."""
    low, high = np.quantile(values, (0.005, 0.995)) if len(values) else (0.0, 0.0)
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
    limit = split(values)
    return float((values > limit).mean()) if np.isfinite(limit) else 0.5
