"""How many clusters: the count whose clusters have the most homogeneous returns, whatever the reward scale.

    J(C) = sum_c n_c Var(G in c) / (n Var(G))  +  share of clusters below max(2, min(30, n / 50))  +  0.02 C

Candidates are 2 .. 12, at most n / 10.  One more cluster must thus explain 2 % of the variance.  Where all
returns are equal the first term is 0.
"""

from __future__ import annotations

import numpy as np

from trajrl.samplers.base.returns import ROUNDING

MOST = 12
PER_CLUSTER = 0.02


def homogeneity(labels: np.ndarray, returns: np.ndarray) -> float:
    """Return J of labels (n,) 0 .. C-1 and returns (n,)."""
    count = np.bincount(labels).astype(np.float64)  # (C,)
    mean = np.bincount(labels, returns) / np.maximum(count, 1)
    within = np.square(returns - mean[labels]).sum()
    total = np.square(returns - returns.mean()).sum()
    small = max(2.0, min(30.0, len(labels) / 50))
    varies = total > ROUNDING**2 * np.square(returns).sum()
    first = within / total if varies else 0.0
    return float(first + (count < small).mean() + PER_CLUSTER * len(count))


def candidates(n: int) -> list[int]:
    """Return the counts to try for n trajectories; none for fewer than 20."""
    return list(range(2, min(MOST, n // 10) + 1))
