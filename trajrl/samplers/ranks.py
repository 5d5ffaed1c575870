"""The rank law of trajectory priorities: a power of the rank, with equal scores sharing their average rank.

p_i = (1 - floor) (rank_i + 1)^-alpha / sum_j (rank_j + 1)^-alpha + floor / n,      rank 0 = largest score
"""

from __future__ import annotations

import numpy as np


def average_ranks(scores: np.ndarray) -> np.ndarray:
    """Return ranks (n,) from 0, the largest score first; ties share the mean of their places."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))  # (groups,)
    ends = np.append(begins[1:], len(scores))
    ranks = np.empty(len(scores))
    ranks[order] = np.repeat((begins + ends - 1) / 2, ends - begins)
    return ranks


def rank_law(scores: np.ndarray, alpha: float = 0.7, floor: float = 0.05) -> np.ndarray:
    """Return p (n,); alpha 0 or equal scores give the uniform law."""
    if not len(scores):
        return np.zeros(0)
    weight = (average_ranks(scores) + 1) ** -alpha
    return (1 - floor) * weight / weight.sum() + floor / len(scores)
