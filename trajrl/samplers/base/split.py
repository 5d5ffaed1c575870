"""Two groups of numbers, told apart by Otsu's split.

    limit = argmax over l of n_low n_high (mean_high - mean_low)^2,   high: above l
    gap   = (mean_high - mean_low) / sqrt((var_low + var_high) / 2)

Of merits, a low side of less than a fifth is no group but failures among what there is: it is set aside, and
the rest is split again.  A high side may be small, down to what counts as outliers: it is what is looked for.
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

    limit: float  # above it the high group; infinity where all but outliers are the same
    gap: float  # between the means of the groups, in their deviation; 0 there


def split(values: np.ndarray, weight: np.ndarray) -> Split:
    """Return where values (n,) are parted in two groups, failures set aside; each counts by its weight."""
    whole, total = (values, weight), weight.sum()
    limit, (rest, own) = otsu(*whole), whole
    while np.isfinite(limit) and own[rest <= limit].sum() < LEAST * own.sum():
        kept = rest > limit
        further = otsu(rest[kept], own[kept])
        if not np.isfinite(further):
            break  # nothing but failures to part off
        rest, own, limit = rest[kept], own[kept], further
        if 2 * own.sum() < total:
            limit, (rest, own) = otsu(*whole), whole
            break
    return Split(limit, gap(rest, own, limit))


def gap(values: np.ndarray, weight: np.ndarray, limit: float) -> float:
    """Return how far apart the means of the two groups of values (n,) lie, outliers clipped."""
    high = values > limit
    if high.all() or not high.any():
        return 0.0
    clipped = np.clip(values, *quantiles(values, weight, OUTLIERS))
    (low, low_var), (up, up_var) = (moments(clipped[side], weight[side]) for side in (~high, high))
    return float((up - low) / max(np.sqrt((low_var + up_var) / 2), (up - low) / WIDEST))


def moments(values: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Return mean and variance of values (n,) that count by their weight (n,)."""
    mean = np.average(values, weights=weight)
    return float(mean), float(np.average(np.square(values - mean), weights=weight))


def otsu(values: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Return Otsu's split of values (n,), outliers clipped; infinity where all but outliers are the same."""
    weight = np.ones(len(values)) if weight is None else weight
    low, high = quantiles(values, weight, OUTLIERS) if len(values) else (0.0, 0.0)
    if not high > low:
        return float("inf")
    count, edges = np.histogram(np.clip(values, low, high), BINS, (low, high), weights=weight)
    centre = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(count)[:-1].astype(np.float64)  # (BINS - 1,) weight below each split
    above = count.sum() - below
    total = np.cumsum(count * centre)
    apart = total[:-1] / np.maximum(below, 1e-9) - (total[-1] - total[:-1]) / np.maximum(above, 1e-9)
    return float(edges[1 + int((below * above * apart**2).argmax())])


def quantiles(values: np.ndarray, weight: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Return the least values with at least these shares of the weight (n,) at or below them."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order]) / weight.sum()
    return values[order][np.minimum(np.searchsorted(reached, shares), len(values) - 1)]


def limit_of_best(values: np.ndarray, weight: np.ndarray, share: float) -> float:
    """Return the limit above which at least a share of the weight (n,) lies: the best values, ties whole."""
    order = np.argsort(-values, kind="stable")
    reached = np.cumsum(weight[order]) / weight.sum()
    least = values[order][min(int(np.searchsorted(reached, share - 1e-9)), len(values) - 1)]
    return float(np.nextafter(least, -np.inf))


def estimated_share(values: np.ndarray) -> float:
    """Return the share of values (n,) above Otsu's split; 0.5 where all but outliers are the same."""
    limit = otsu(values)
    return float((values > limit).mean()) if np.isfinite(limit) else 0.5
