"""How often what was recorded is learned from: by age, and by success.

    replay_ratio/all        draws / steps of the live episodes, since the run began
    replay_ratio/success    the same of those known to have succeeded;  .../failure  of those that failed
    age/quarter_k_share     share of the draws since the last log in the k-th quarter of the steps, in order
                            of coming, 1 the oldest: uniform draws have 0.25 in each
    age/drawn_mean          mean age in updates of what was drawn since the last log;  age/data_mean  of all

What nobody can say is absent.
"""

from __future__ import annotations

import numpy as np

QUARTERS = 4


def replay_stats(
    length: np.ndarray, success: np.ndarray, age: np.ndarray, draws: np.ndarray, interval: np.ndarray
) -> dict[str, float]:
    """Return the figures of episodes in the order in which they came.

    Args:
        length: steps (n,)
        success: 1, 0, or -1 where nobody said (n,)
        age: updates since they came (n,)
        draws: since the run began (n,)
        interval: draws since the last log (n,)
    """
    steps = length.sum()
    if not steps:
        return {}
    stats = {"replay_ratio/all": float(draws.sum() / steps)}
    for name, of in (("success", success == 1), ("failure", success == 0)):
        if of.any():
            stats[f"replay_ratio/{name}"] = float(draws[of].sum() / length[of].sum())
    stats["age/data_mean"] = float(age @ length / steps)
    if interval.sum():
        stats["age/drawn_mean"] = float(age @ interval / interval.sum())
        shares = quarters(length, interval) / interval.sum()
        stats.update({f"age/quarter_{k + 1}_share": float(share) for k, share in enumerate(shares)})
    return stats


def quarters(length: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return draws (n,) of episodes summed over each quarter of their steps (4,), every step drawn alike."""
    edges = np.append(0.0, np.cumsum(length))  # (n + 1,) steps before each episode
    passed = np.append(0.0, np.cumsum(draws))
    marks = np.linspace(0, edges[-1], QUARTERS + 1)
    return np.diff(np.interp(marks, edges, passed))
