"""How uneven a share vector is: entropy, KL divergence from uniform, and effective number.

    H = -sum p ln p        KL = ln n - H        ESS = 1 / sum p^2

n counts every entry, also those of share 0.
"""

from __future__ import annotations

import numpy as np


def share_stats(p: np.ndarray) -> dict[str, float]:
    """Describe shares (n,) that sum to 1; empty shares give zeros."""
    if not len(p):
        return {"entropy": 0.0, "kl_uniform": 0.0, "ess": 0.0}
    seen = p[p > 0]
    entropy = float(-(seen * np.log(seen)).sum())
    ess = float(1 / np.square(p).sum()) if len(seen) else 0.0
    return {"entropy": entropy, "kl_uniform": float(np.log(len(p)) - entropy), "ess": ess}
