"""Statistics over runs: interquartile mean, stratified bootstrap, probability of improvement, profiles.

Scores come as tasks: a list with one array (runs,) per task.  A bootstrap resamples the runs of each task by
itself, as counts: n (R, runs) says how often each run was taken.  With the values sorted, and k = runs // 4,

    mean = n @ x / runs        IQM = diff(clip(cumsum(n), k, runs - k)) @ x / (runs - 2 k)

(Agarwal et al. 2021, Deep RL at the edge of the statistical precipice).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from trajrl.core.rng import stream

RESAMPLES = 2000
Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]  # counts (R, n), values (n,) -> (R,)


class Interval(NamedTuple):
    """A value and the ends of its interval; numbers, or arrays along a curve."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def weighted_mean(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the mean of each resample: counts (R, n), values (n,) -> (R,)."""
    return counts @ values / counts.sum(1)


def weighted_iqm(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the mean of the middle half of each resample; a quarter, rounded down, is cut at each end."""
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(counts[:, order], axis=1)  # (R, n) how many lie at or below each value
    total = cumulated[:, -1:]
    cut = total // 4
    kept = np.diff(np.clip(cumulated, cut, total - cut), axis=1, prepend=cut)  # (R, n)
    return kept @ values[order] / kept.sum(1)


def iqm(values: np.ndarray) -> float:
    """Return the interquartile mean of values (n,)."""
    values = np.asarray(values, np.float64)
    return float(weighted_iqm(np.ones((1, len(values)), np.int64), values)[0])


def interval(
    tasks: Sequence[np.ndarray],
    measure: Measure = weighted_iqm,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> Interval:
    """Return the measure over all runs of all tasks with its stratified bootstrap interval."""
    values = _pooled(tasks)
    counts = _counts(tasks, seed, "interval", resamples)
    whole = measure(np.ones((1, len(values)), np.int64), values)[0]
    return _interval(whole, measure(counts, values), confidence)


def curve(
    values: np.ndarray, measure: Measure = weighted_iqm, *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return the interval at every step of runs (n, S); a run without a value at a step is left out there."""
    columns = [column[np.isfinite(column)] for column in np.asarray(values, np.float64).T]
    nothing = Interval(*[np.array(np.nan)] * 3)
    found = [
        interval([column], measure, seed=seed, resamples=resamples) if len(column) else nothing
        for column in columns
    ]
    return Interval(*(np.array(part) for part in zip(*found))) if found else Interval(*[np.empty(0)] * 3)


def improvement(
    x: Sequence[np.ndarray], y: Sequence[np.ndarray], *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return P(a run of x beats a run of y), ties half, averaged over the tasks, with its interval."""
    if len(x) != len(y):
        raise ValueError(f"an improvement compares the same tasks; got {len(x)} and {len(y)}")
    whole, sampled = [], []
    for task, (a, b) in enumerate(zip(x, y)):
        a, b = _pooled([a]), _pooled([b])
        wins = (a[:, None] > b) + 0.5 * (a[:, None] == b)  # (n, m)
        taken = _counts([a], seed, "improvement", resamples, 2 * task)  # (R, n)
        other = _counts([b], seed, "improvement", resamples, 2 * task + 1)  # (R, m)
        whole.append(wins.mean())
        sampled.append(((taken @ wins) * other).sum(1) / wins.size)
    return _interval(np.mean(whole), np.mean(sampled, axis=0), 0.95)


def profile(
    tasks: Sequence[np.ndarray], thresholds: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return the share of runs above each threshold (K,), with pointwise intervals."""
    above = (_pooled(tasks)[:, None] > thresholds).astype(np.float64)  # (n, K)
    counts = _counts(tasks, seed, "profile", resamples)
    return _interval(above.mean(0), counts @ above / len(above), 0.95)


def regret(steps: np.ndarray, values: np.ndarray, target: float) -> float:
    """Return the mean shortfall of values (S,) below `target` over steps (S,), by trapezoids."""
    gap = np.maximum(0.0, target - np.asarray(values, np.float64))
    steps = np.asarray(steps, np.float64)
    return float(np.trapezoid(gap, steps) / (steps[-1] - steps[0])) if len(gap) > 1 else float(gap[0])


def drop(values: np.ndarray) -> float:
    """Return how far values (S,) fall below the first of them; 0 where they never do."""
    return float(max(0.0, values[0] - np.min(values)))


def _pooled(tasks: Sequence[np.ndarray]) -> np.ndarray:
    """Join the tasks' runs, and refuse what no statistic can be taken of."""
    if not len(tasks) or any(len(task) == 0 for task in tasks):
        raise ValueError("a statistic needs at least one run in every task")
    values = np.concatenate([np.asarray(task, np.float64) for task in tasks])
    if not np.isfinite(values).all():
        raise ValueError("a score is not a finite number; drop that run first")
    return values


def _counts(tasks: Sequence[np.ndarray], seed: int, name: str, resamples: int, *index: int) -> np.ndarray:
    """Draw how often each run is taken, within its task: (R, runs of all tasks)."""
    parts = []
    for task, runs in enumerate(tasks):
        rng = stream(seed, f"bootstrap/{name}", *index, task)
        parts.append(rng.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=resamples))
    return np.concatenate(parts, axis=1)


def _interval(value: np.ndarray, sampled: np.ndarray, confidence: float) -> Interval:
    """Take the interval from the quantiles of the resampled values (R, ...)."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(sampled, (tail, 1 - tail), axis=0)
    return Interval(np.asarray(value), low, high)
