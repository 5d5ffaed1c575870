"""Exponential laws over episodes by their worth, with a temperature or a floor under the effective share.

    p(e) ~ exp(x_e / temperature) T_e^exponent,  x = minmax(worth)
    then no episode above max_share, then p = (1 - floor) p + floor / n

    share(p) = 1 / (N sum_e p_e^2 / T_e),  N = sum T     Kish's (sum w)^2 / (N sum w^2) over all windows,
                                                         each window of episode e with the weight p_e / T_e

ess = s takes the lowest temperature at which share(p) is at least s: draws are never spread over fewer than
s N windows, as many as s n episodes of mean length hold.  Uniform over steps has share 1, and k windows drawn
alike, and no others, k / N.  The share falls with the temperature, so that a bisection finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import numpy as np

from trajrl.samplers.base.distributions import check_share, with_floor
from trajrl.samplers.base.returns import minmax

COLDEST, HOTTEST = 1e-6, 1e6  # temperatures tried; x lies within [0, 1]
HALVINGS = 20  # of the logarithm of that range: the temperature is found to 3e-5 of itself
ROUNDING = 1e-9


@dataclass(frozen=True)
class ExponentialConfig:
    """How strongly worth counts."""

    temperature: float = 0.1  # higher: closer to uniform; published: 0.1 for IQL and TD3+BC, 0.2 for CQL
    ess: float = 0.0  # least share of windows drawn from, instead of a temperature; higher: closer to uniform
    exponent: float = 1.0  # of the length in p(e); 1: as published, 0: short and long episodes weigh the same
    max_share: float = 1.0  # most of the draws that one episode may take; lower: closer to uniform
    floor: float = 0.0  # share of draws that is uniform over all episodes; higher: more of the rest is seen

    def validate(self) -> None:
        """Refuse numbers out of range."""
        if not self.temperature > 0:
            raise ValueError(f"the sampler option 'temperature' is above 0; got {self.temperature}")
        if not isfinite(self.exponent):
            raise ValueError(f"the sampler option 'exponent' is a finite number; got {self.exponent}")
        for name in ("ess", "max_share", "floor"):
            check_share(name, getattr(self, name))


def exponential_law(
    worth: np.ndarray, length: np.ndarray, config: ExponentialConfig
) -> tuple[np.ndarray, float]:
    """Return p (n,) of episodes of a worth (n,) and a length (n,), and the temperature that gave it."""
    x, weight = minmax(worth), config.exponent * np.log(length)  # (n,) both

    def law(temperature: float) -> np.ndarray:
        with np.errstate(over="ignore"):  # exp of what is below every number is 0
            log_p = (x - x.max()) / temperature + weight
            p = np.exp(log_p - log_p.max())
        return with_floor(capped(p / p.sum(), config.max_share), config.floor)

    temperature = coldest(law, length, config.ess) if config.ess else config.temperature
    return law(temperature), temperature


def effective_share(p: np.ndarray, length: np.ndarray) -> float:
    """Return the share of windows that draws by p (n,) over episodes of a length (n,) are spread over."""
    return float(1 / (length.sum() * (np.square(p) / length).sum()))


def coldest(law: Callable[[float], np.ndarray], length: np.ndarray, ess: float) -> float:
    """Return the lowest temperature whose law keeps the effective share; the highest where none does."""

    def keeps(temperature: float) -> bool:
        return effective_share(law(temperature), length) >= ess * (1 - ROUNDING)

    if keeps(COLDEST):  # so many are alike, and best
        return COLDEST
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if keeps(np.exp(middle)) else (middle, high)
    return float(np.exp(high))


def capped(p: np.ndarray, limit: float) -> np.ndarray:
    """Return p (n,) with no entry above the limit, what is cut off spread over the others in proportion."""
    limit = max(limit, 1 / len(p))
    full = np.zeros(len(p), bool)
    while (p > limit * (1 + 1e-12)).any():
        full |= p > limit
        rest = p[~full].sum()
        left = 1 - limit * full.sum()
        p = np.where(full, limit, p * (left / rest) if rest > 0 else left / max(1, (~full).sum()))
    return p
