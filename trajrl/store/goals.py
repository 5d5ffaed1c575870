"""Goals: a law of goals for windows, by hindsight.  An observation is then (o, g), the state and the goal.

    p(g | e, t) = here [g = (e, t)] + ahead F(g | e, t) + (1 - here - ahead) / (steps of all live episodes)
    F           g = (e, min(t + d, T)),  p(d) = (1 - 1/m)^(d - 1) / m,  d >= 1;  m = 0: even over t + 1 .. T

    r_{t+j}     = -1 before the goal's step, 0 from it on;  a goal elsewhere or in the past is never met
    terminated  = t <= g <= t + k, in the episode itself: the value at a goal is 0, so none is taken there

An end of a recording ends nothing: a window that is cut there without its goal takes the bootstrap.  A window
without a drawn goal has its episode's last observation: so data is judged alike, whoever asks.

Paper: Andrychowicz et al. 2017 (HER, arXiv 1707.01495); the shares are those of OGBench (arXiv 2410.20092).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FAR = np.iinfo(np.int64).max >> 1  # steps to a goal that is not ahead in the episode
ROLES = ("policy", "values")


@dataclass(frozen=True)
class GoalLaw:
    """Where goals lie, for the terms of the values and those of the policy; the rest are of any episode."""

    values_here: float = 0.2  # share of goals that are the state itself; raising it: surer zeros at goals
    values_ahead: float = 0.5  # share of goals later in the episode; raising it: fewer goals of others
    values_mean: float = 100.0  # mean steps to those; raising it: further ones.  0: any, alike
    policy_here: float = 0.0  # the same shares for what the policy learns from
    policy_ahead: float = 1.0  # lowering it: more goals of other episodes, which stitches
    policy_mean: float = 0.0  # mean steps to its goals ahead; 0: any, alike

    def __post_init__(self) -> None:
        for role in ROLES:
            here, ahead, mean = self.of(role)
            if not (0 <= here <= 1 and 0 <= ahead <= 1 and here + ahead <= 1 + 1e-9):
                got = f"{here:g} and {ahead:g}"
                raise ValueError(f"goals.{role}_here and goals.{role}_ahead are shares of one; got {got}")
            if mean != 0 and not 1 <= mean < np.inf:
                raise ValueError(f"goals.{role}_mean is 1 step or more, or 0: any step ahead; got {mean:g}")

    def of(self, role: str) -> tuple[float, float, float]:
        """Return the share here, the share ahead, and the mean steps ahead."""
        here, ahead, mean = (float(getattr(self, f"{role}_{name}")) for name in ("here", "ahead", "mean"))
        return here, ahead, mean


class Goals(NamedTuple):
    """An observation for each window: row `step` of an episode of T actions, 0 <= step <= T."""

    episode: np.ndarray  # (B,) int64
    step: np.ndarray  # (B,) int64

    def rows(self, rows: slice) -> Goals:
        """Return some of the rows."""
        return Goals(self.episode[rows], self.step[rows])

    def steps_to(self, episode: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return how many steps (B,) after the anchors the goals are met, FAR where they are not."""
        ahead = (self.episode == episode) & (self.step >= step)
        return np.where(ahead, self.step - step, FAR)


def rewards_until(steps: np.ndarray, size: int) -> np.ndarray:
    """Return rewards (B, n): -1 in the first steps (B,) of a window, 0 from there on."""
    return -(np.arange(size) < steps[:, None]).astype(np.float32)


def cost(steps: np.ndarray, gamma: float) -> np.ndarray:
    """Return the discounted return of steps (B,) at -1 each: -(1 - gamma^m) / (1 - gamma)."""
    found = -steps if gamma == 1 else -(1 - gamma**steps) / (1 - gamma)
    return np.asarray(found, np.float32)
