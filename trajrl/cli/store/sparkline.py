"""A row of numbers as one line of little bars, for a terminal."""

from __future__ import annotations

import sys

import numpy as np

BARS = "".join(chr(0x2581 + level) for level in range(8))  # one to eight eighths of a letter's height
PLAIN = "_.-~=+*#"  # where the terminal knows ASCII alone


def sparkline(values: np.ndarray, width: int, bars: str = "") -> str:
    """Return numbers (n,) as at most `width` bars, each the mean of its stretch; blank where unknown."""
    bars = bars or (BARS if _shows(BARS) else PLAIN)
    stretches = np.array_split(np.asarray(values, np.float64), min(width, len(values)))
    means = np.array(
        [part[np.isfinite(part)].mean() if np.isfinite(part).any() else np.nan for part in stretches]
    )
    known = np.isfinite(means)
    if not known.any():
        return " " * len(means)
    low, high = means[known].min(), means[known].max()
    level = np.zeros(len(means), np.int64)
    if high > low:
        level[known] = np.round((means[known] - low) / (high - low) * (len(bars) - 1)).astype(np.int64)
    return "".join(bars[place] if there else " " for place, there in zip(level.tolist(), known))


def _shows(text: str) -> bool:
    """Say whether standard output can write a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
