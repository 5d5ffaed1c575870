"""Bootstrap intervals of a mean: the 2.5 and 97.5 per cent quantiles of the means of resampled values."""

from __future__ import annotations

import numpy as np

from trajrl.core.rng import stream


def bootstrap_mean(values: np.ndarray, seed: int, resamples: int = 2000) -> tuple[float, float]:
    """Return the 95 per cent interval of the mean of values (n,)."""
    rng = stream(seed, "bootstrap", len(values))
    index = rng.integers(len(values), size=(resamples, len(values)))  # (R, n)
    low, high = np.quantile(values[index].mean(1), (0.025, 0.975))
    return float(low), float(high)
