"""Estimates: a number of every policy, as samples that share their draws: differences have intervals too.

    sample r of policy m = mean over episodes, drawn with replacement, of what member e_r says of m

Members e are the networks of an ensemble (one, where nothing is fitted).  Two policies are tied where the
interval of their difference holds 0.  Draws from n episodes differ by less than n new ones would, by far less
where n is small: each is moved away from its member's mean by what makes the interval as wide as Student's t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trajrl.core.rng import stream

RESAMPLES = 2000
TAILS = (0.025, 0.975)
NORMAL = 1.959964  # the upper of these quantiles of the normal distribution


@dataclass(frozen=True)
class Estimates:
    """What a criterion says of every policy."""

    name: str  # of the criterion
    value: np.ndarray  # (M,)
    samples: np.ndarray  # (M, R); row r of two policies comes from the same episodes and member
    higher_is_better: bool = True
    episodes: int = 2  # that the draws are from; of one alone nothing is known of others
    members: int = 2  # networks fitted to each policy, where some are; one alone shows no doubt of its own

    @property
    def lacking(self) -> str:
        """Say why no policy can be separated from another, whatever the draws say; empty where one can."""
        if self.episodes < 2:
            return "one episode says nothing of others"
        return (
            "" if self.members > 1 else "one network for each policy (--members 1) shows no doubt of its own"
        )

    @property
    def low(self) -> np.ndarray:
        """Return the lower ends (M,) of the 95 per cent intervals."""
        return np.quantile(self.samples, TAILS[0], axis=1)

    @property
    def high(self) -> np.ndarray:
        """Return the upper ends (M,)."""
        return np.quantile(self.samples, TAILS[1], axis=1)

    @property
    def order(self) -> np.ndarray:
        """Return the policies (M,), the best first; of equals the later one."""
        sign = -1.0 if self.higher_is_better else 1.0
        place = np.arange(len(self.value))
        return np.lexsort((-place, sign * self.value))

    def tied(self, policy: int) -> np.ndarray:
        """Return which policies (M,) cannot be separated from one: the difference's interval holds 0."""
        if self.lacking:
            return np.ones(len(self.value), bool)
        low, high = np.quantile(self.samples - self.samples[policy], TAILS, axis=1)
        return (low <= 0) & (high >= 0)


def resampled(name: str, values: np.ndarray, seed: int, higher_is_better: bool = True) -> Estimates:
    """Return the estimates of values (M, E, n) of M policies by E members in n episodes; NaN is left out."""
    members, episodes = values.shape[1:]
    rng = stream(seed, "ope/bootstrap", members, episodes)
    member = rng.integers(members, size=RESAMPLES)
    samples = np.empty((len(values), RESAMPLES))
    known, value = np.isfinite(values), np.nanmean(values, axis=(1, 2))
    filled, there = np.where(known, values, 0.0), int(known.any((0, 1)).sum())
    for e in range(members):
        rows = np.flatnonzero(member == e)
        counts = rng.multinomial(episodes, np.full(episodes, 1 / episodes), size=len(rows))  # (r, n)
        total, count = filled[:, e] @ counts.T, known[:, e] @ counts.T  # (M, r) both
        middle = np.where(known[:, e].any(1), filled[:, e].sum(1) / np.maximum(known[:, e].sum(1), 1), value)
        off = np.where(count > 0, total / np.maximum(count, 1) - middle[:, None], 0.0)
        samples[:, rows] = middle[:, None] + widening(there) * off
    return Estimates(name, value, samples, higher_is_better, there)


def widening(episodes: int) -> float:
    """Return t / z sqrt(n / (n - 1)), t the upper quantile of Student's distribution of n - 1 degrees.

    Expansion of t in powers of 1 / (n - 1), Abramowitz and Stegun 26.7.5; within 4 % from three episodes on.
    """
    if episodes < 2:
        return 1.0
    z, inverse = NORMAL, 1 / (episodes - 1)
    terms = (
        1, (z**2 + 1) / 4, (5 * z**4 + 16 * z**2 + 3) / 96, (3 * z**6 + 19 * z**4 + 17 * z**2 - 15) / 384,
    )  # fmt: skip
    t_over_z = sum(term * inverse**power for power, term in enumerate(terms))
    return float(t_over_z * np.sqrt(1 + inverse))


def joined(parts: list[Estimates], place: list[list[int]]) -> Estimates:
    """Put estimates that were made apart into one, each at its places."""
    count = sum(map(len, place))
    value, samples = np.empty(count), np.empty((count, parts[0].samples.shape[1]))
    for part, rows in zip(parts, place):
        value[rows], samples[rows] = part.value, part.samples
    least = (min(getattr(part, name) for part in parts) for name in ("episodes", "members"))
    return Estimates(parts[0].name, value, samples, parts[0].higher_is_better, *least)
