"""The sets of the bandits: points in the plane, each with an energy (its reward) and a mode.

A set is a function draw(rng, n, noise) -> Points; noise 1 is the set as published, noise 0 its bare shape.
Generators and energies follow Lu et al. 2023 (CEP); `corners` is the toy of Wang, Hunt, Zhou 2023.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt
from typing import NamedTuple

import numpy as np


class Points(NamedTuple):
    """Points of a set."""

    x: np.ndarray  # (n, 2)
    energy: np.ndarray  # (n,)
    mode: np.ndarray  # (n,) int64


Draw = Callable[[np.random.Generator, int, float], Points]


@dataclass(frozen=True)
class BanditSet:
    """A set and what is known of it."""

    draw: Draw
    modes: int
    spread: float  # three standard deviations of its noise: further from the bare shape is off every mode
    distinct: bool = False  # modes equally likely, of one energy each: a point's nearest one decides
    box: float = 4.5  # actions fill [-box, box]
    top: float = 1.0  # energy that scores 100; 0: no energy
    reward_noise: float = 0.0  # standard deviation of a reward around the energy


S = sqrt(0.5)
EIGHT = np.array([(0, 1), (-S, S), (-1, 0), (-S, -S), (0, -1), (S, -S), (1, 0), (S, S)])
RADII, RING_ENERGY = np.array([3, 2.25, 1.5, 0.75]), np.array([0.667, 0.333, 1, 0])
CORNERS = np.array([(-0.8, 0.8), (-0.8, -0.8), (0.8, 0.8), (0.8, -0.8)])
CORNER_ENERGY = np.array([3, 0, 1.5, 5.0])


def eight_gaussians(rng: np.random.Generator, n: int, noise: float) -> Points:
    """(4 c_k + 0.5 N(0, I)) / 1.414, k uniform; e = k / 7."""
    k = rng.integers(8, size=n)
    return Points((4 * EIGHT[k] + 0.5 * noise * rng.standard_normal((n, 2))) / 1.414, k / 7, k)


def rings(rng: np.random.Generator, n: int, noise: float) -> Points:
    """Four circles, equal counts, equally spaced angles, + N(0, 0.08^2); the second smallest is best."""
    k, angle = _equal_parts(n, 4, 2 * pi)
    x = RADII[k, None] * _circle(angle) + 0.08 * noise * rng.standard_normal((n, 2))
    return Points(x, RING_ENERGY[k], k)


def moons(rng: np.random.Generator, n: int, noise: float) -> Points:
    """Two half circles + N(0, 0.1^2), times 2, moved by (-1, -0.2); e is the label of the moon."""
    k, angle = _equal_parts(n, 2, pi, closed=True)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], 1)
    arc = np.where(k[:, None] == 0, _circle(angle), lower)
    x = 2 * (arc + 0.1 * noise * rng.standard_normal((n, 2))) + (-1, -0.2)
    return Points(x, k.astype(np.float64), k)


def checkerboard(rng: np.random.Generator, n: int, noise: float) -> Points:
    """Eight dark squares of side 2; e = 1 where 0 < x <= 2 or x <= -2."""
    x = 4 * rng.random(n) - 2
    y = rng.random(n) - 2 * rng.integers(2, size=n) + np.floor(x) % 2
    energy = ((x > 0) & (x <= 1)) | (x <= -1)
    mode = 2 * (np.floor(x).astype(np.int64) + 2) + (y >= 0)
    return Points(2 * np.stack([x, y], 1), energy.astype(np.float64), mode)


def two_spirals(rng: np.random.Generator, n: int, noise: float) -> Points:
    """Arms of angle 3 pi sqrt(U), the second the first turned by pi; e = clip(1 - angle / 10, 0, 1)."""
    half = -(-n // 2)
    angle = 3 * pi * np.sqrt(rng.random(half))
    arm = np.stack([-np.cos(angle), np.sin(angle)], 1) * angle[:, None] + 0.5 * rng.random((half, 2))
    x = np.concatenate([arm, -arm])[:n] / 3 + 0.1 * noise * rng.standard_normal((n, 2))
    mode = np.repeat((0, 1), half)[:n]
    return Points(x, np.clip(1 - np.tile(angle, 2)[:n] / 10, 0, 1), mode)


def swissroll(rng: np.random.Generator, n: int, noise: float) -> Points:
    """t (cos t, sin t) + N(0, I), t = 1.5 pi (1 + 2 U), over 5; e = |x|^2 / 9."""
    t = 1.5 * pi * (1 + 2 * rng.random(n))
    x = (t[:, None] * _circle(t) + noise * rng.standard_normal((n, 2))) / 5
    return Points(x, np.square(x).sum(1) / 9, np.zeros(n, np.int64))


def circles(rng: np.random.Generator, n: int, noise: float) -> Points:
    """Circles of radius 1 and 0.5 + N(0, 0.08^2), times 3; e = |x|^2 / 9."""
    k, angle = _equal_parts(n, 2, 2 * pi)
    radius = np.array([1, 0.5])[k, None]
    x = 3 * (radius * _circle(angle) + 0.08 * noise * rng.standard_normal((n, 2)))
    return Points(x, np.square(x).sum(1) / 9, k)


def pinwheel(rng: np.random.Generator, n: int, noise: float) -> Points:
    """Five bent arms: radial deviation 0.3, tangential 0.1, rate 0.25, times 2; no energy."""
    k = np.arange(n) * 5 // max(n, 1)
    along = 1 + 0.3 * rng.standard_normal(n)
    across = 0.1 * noise * rng.standard_normal(n)
    angle = 2 * pi * k / 5 + 0.25 * np.exp(along)
    cos, sin = np.cos(angle), np.sin(angle)
    x = 2 * np.stack([along * cos + across * sin, across * cos - along * sin], 1)
    return Points(x, np.zeros(n), k)


def corners(rng: np.random.Generator, n: int, noise: float) -> Points:
    """Four corners (+-0.8, +-0.8) with equal counts + N(0, 0.05^2), cut to the box; e = 3, 0, 1.5, 5."""
    k = np.arange(n) * 4 // max(n, 1)
    x = (CORNERS[k] + 0.05 * noise * rng.standard_normal((n, 2))).clip(-1, 1)
    return Points(x, CORNER_ENERGY[k], k)


def _equal_parts(n: int, parts: int, turn: float, closed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the part (n,) of each point, in equal counts, and its angle, equally spaced over [0, turn).

    Args:
        closed: the last angle is `turn`
    """
    count = np.full(parts, n // parts)
    count[0] += n - count.sum()
    part = np.repeat(np.arange(parts), count)
    place = np.concatenate([np.arange(c) for c in count])
    return part, turn * place / np.maximum(1, count - closed)[part]


def _circle(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angle), np.sin(angle)], 1)  # (n, 2)


BANDITS: dict[str, BanditSet] = {
    "2spirals": BanditSet(two_spirals, 2, 0.3),
    "8gaussians": BanditSet(eight_gaussians, 8, 3 * 0.5 / 1.414, distinct=True),
    "checkerboard": BanditSet(checkerboard, 8, 0.1),
    "circles": BanditSet(circles, 2, 0.72),
    "corners": BanditSet(corners, 4, 0.15, distinct=True, box=1.0, top=5.0, reward_noise=0.5),
    "moons": BanditSet(moons, 2, 0.6),
    "pinwheel": BanditSet(pinwheel, 5, 0.6, top=0.0),
    "rings": BanditSet(rings, 4, 0.24, distinct=True),
    "swissroll": BanditSet(swissroll, 1, 0.6),
}
