"""Importance weights that take a law back towards uniform over steps (Schaul et al., arXiv 1511.05952).

w_e = (q_e / p_e)^beta / sum_e p_e (q_e / p_e)^beta        mean 1 under the law; beta 0: all 1, beta 1: exact
"""

from __future__ import annotations

import numpy as np


def importance(p: np.ndarray, q: np.ndarray, beta: float) -> np.ndarray:
    """Return weights (n,) of drawing by p where q was meant; 0 for what is never drawn."""
    if beta == 0:
        return np.ones(len(p))
    drawn = p > 0
    weight = np.zeros(len(p))
    weight[drawn] = (q[drawn] / p[drawn]) ** beta
    return weight / (p @ weight)
