"""How near samples of a policy come to p(x) ~ p_data(x) exp(beta e(x)), the goal that a bandit knows exactly.

modes    P(k) ~ p(k) mean_k exp(beta e)                total variation = 1/2 sum_k |P(k) - found(k)|
sliced   W2^2 = mean over 256 directions of mean (sorted x.d - sorted y.d)^2
MMD^2    = k(x, x') + k(y, y') - 2 k(x, y), unbiased, k = exp(-|x - y|^2 / (2 s^2)), s = median distance
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np

from trajrl.core.rng import stream
from trajrl.envs.bandit import find_bandit, judge, off_mode, shape

NUM_DIRECTIONS = 256
NUM_PAIRED = 2_000  # points of each side that MMD compares
NUM_POOL = 400_000  # points the goal is resampled from


@dataclass(frozen=True)
class Goal:
    """What p_data(x) exp(beta e(x)) holds."""

    beta: float
    energy: float  # expected
    masses: np.ndarray  # (modes,)
    x: np.ndarray  # (n, 2) points of it


def goal(name: str, beta: float, n: int, seed: int = 0) -> Goal:
    """Return the goal of a bandit, with n points resampled from a large pool by weight exp(beta e)."""
    bandit, rng = find_bandit(name), stream(seed, f"bandit/{name}/goal")
    pool = bandit.draw(rng, NUM_POOL, 1.0)
    weight = tilt(pool.energy, beta)
    x = pool.x[rng.choice(NUM_POOL, n, p=weight / weight.sum())]
    masses = np.bincount(pool.mode, weight, minlength=bandit.modes)
    energy = float((weight * pool.energy).sum() / weight.sum())
    if bandit.distinct:  # known without a pool: equally likely modes, each with one energy
        bare = shape(name)
        levels = np.array([bare.energy[bare.mode == k][0] for k in range(bandit.modes)])
        masses = tilt(levels, beta)
        energy = float((masses * levels).sum() / masses.sum())
    return Goal(beta, energy, masses / masses.sum(), x)


def tilt(energy: np.ndarray, beta: float) -> np.ndarray:
    """Return exp(beta e) up to a factor, at most 1 whatever the sign and size of beta."""
    return np.exp(beta * (energy - (energy.max() if beta >= 0 else energy.min())))


def measure(name: str, x: np.ndarray, wanted: Goal) -> dict[str, Any]:
    """Return every measure of samples (n, 2), in the units of the set."""
    bandit = find_bandit(name)
    energy, mode = judge(name, x)
    masses = np.bincount(mode, minlength=bandit.modes) / len(x)
    return {
        "mean_energy": float(energy.mean()), "expected_energy": wanted.energy,
        "mode_masses": masses.tolist(), "expected_masses": wanted.masses.tolist(),
        "total_variation": float(np.abs(masses - wanted.masses).sum() / 2),
        "off_mode": float(off_mode(name, x).mean()), "goal_off_mode": float(off_mode(name, wanted.x).mean()),
        "sliced_w2": sliced_w2(x, wanted.x), "mmd": mmd(x[:NUM_PAIRED], wanted.x[:NUM_PAIRED]),
        "beta": wanted.beta, "samples": len(x),
    }  # fmt: skip


def sliced_w2(x: np.ndarray, y: np.ndarray) -> float:
    """Return the sliced 2-Wasserstein distance of two sets of n points in the plane, (n, 2) each."""
    if x.shape != y.shape:
        raise ValueError(f"sliced_w2 compares sets of equal size; got {len(x)} and {len(y)} points")
    angle = pi * np.arange(NUM_DIRECTIONS) / NUM_DIRECTIONS
    directions = np.stack([np.cos(angle), np.sin(angle)])  # (2, 256)
    gap = np.sort(x @ directions, 0) - np.sort(y @ directions, 0)  # (n, 256)
    return float(np.sqrt(np.square(gap).mean()))


def mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Return the maximum mean discrepancy of points (n, 2) and (m, 2); 0 where its square is below 0."""
    both = np.concatenate([x, y]).astype(np.float64)
    size = np.square(both).sum(1)
    squares = (size[:, None] + size - 2 * both @ both.T).clip(min=0)  # (n + m, n + m)
    median = float(np.median(squares[np.triu_indices(len(both), 1)]))
    kernel = np.exp(-squares / (2 * median)) if median > 0 else (squares == 0).astype(np.float64)
    n, m = len(x), len(y)
    within = (kernel[:n, :n].sum() - n) / (n * (n - 1)) + (kernel[n:, n:].sum() - m) / (m * (m - 1))
    return float(np.sqrt(max(0.0, within - 2 * kernel[:n, n:].mean())))
