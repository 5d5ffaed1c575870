"""Solvers: from N(0, I) to an action, asking a network.  DDPM, DDIM and DPM-Solver behind `sample`.

    ddpm  x <- c1 x0hat + c2 x + sigma z with c1 = beta sqrt(abar')/(1 - abar),
          c2 = (1 - abar') sqrt(alpha)/(1 - abar), sigma^2 = beta (1 - abar')/(1 - abar), in the last step 0
    ddim  x <- sqrt(abar') x0hat + sqrt(1 - abar') eps_hat
    dpm   noise prediction, singlestep, order 3 with lower orders at the end so that the evaluations come out
          even (Lu et al. 2022), on a grid uniform in time from 1 to 1/K

x0hat is what a network of actions gives; of one of noise it is (x - sqrt(1 - abar) eps_hat) / sqrt(abar).
abar' belongs to the next lower level visited, 1 after the last.  Fewer steps than K visit evenly spaced ones.
x0hat is clamped to the box, out of place: gradients flow through every step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from math import expm1, sqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trajrl.core.registry import unknown
from trajrl.nets.kernel import Step

# (x (B, D), number of the evaluation) -> eps_hat or a_hat (B, D), as the plan says
Predictor = Callable[[Tensor, int], Tensor]
SOLVERS = ("ddim", "ddpm", "dpm")
PREDICTS = ("noise", "action")  # what a network gives of a noisy action
BY_LEVEL = ("ddim", "ddpm")  # these take at most one step per level
LEAST_CLEAN = 0.99  # dpm stops at level 0, which must be nearly free of noise


class Point(NamedTuple):
    """A time of the process: x = alpha a + sigma eps, lam = ln(alpha / sigma)."""

    level: float  # what the network is given; between two levels for dpm
    alpha: float
    sigma: float
    lam: float


Estimate = Callable[[Tensor, Point], Tensor]


class Move(NamedTuple):
    """One step: the points at which the predictor is evaluated, and the point it leads to."""

    at: tuple[Point, ...]
    to: Point


class Plan(NamedTuple):
    """A solver's steps, fixed when the agent is built."""

    solver: str
    moves: tuple[Move, ...]
    predicts: str = "noise"

    @property
    def levels(self) -> list[float]:
        """Return the level of every evaluation, in order."""
        return [point.level for move in self.moves for point in move.at]

    @property
    def draws(self) -> int:
        """Return how many N(0, I) tensors one sample takes: the start, and one per noisy step."""
        return len(self.moves) if self.solver == "ddpm" else 1

    @property
    def without_noise(self) -> Plan:
        """Return the plan whose start alone is drawn: ddpm becomes ddim over the same levels."""
        return self._replace(solver="ddim") if self.solver == "ddpm" else self


def plan(abar: np.ndarray, solver: str = "ddpm", steps: int = 0, predicts: str = "noise") -> Plan:
    """Plan `steps` evaluations of the predictor (0: one per level) over the levels of abar (K,)."""
    if solver not in SOLVERS:
        raise ValueError(unknown("solver", solver, SOLVERS))
    if predicts not in PREDICTS:
        raise ValueError(unknown("choice of predicts", predicts, PREDICTS))
    if solver == "dpm":
        return Plan(solver, _dpm_moves(abar, steps or 15), predicts)
    if not 0 <= steps <= len(abar):
        raise ValueError(f"{solver} takes at most one step per level ({len(abar)}); got {steps}")
    levels = np.unique(np.linspace(len(abar) - 1, 0, steps or len(abar)).round().astype(int))[::-1]
    points = [_point(float(i), abar[i]) for i in levels] + [_point(-1.0, 1.0)]
    return Plan(solver, tuple(Move((here,), there) for here, there in pairwise(points)), predicts)


def sample(plan: Plan, predict: Predictor, noise: Tensor, clip: bool = True) -> Tensor:
    """Return actions (B, D) from noise (draws, B, D); `clip` keeps them in [-1, 1]."""
    if plan.solver == "dpm":
        x = _singlestep(plan, predict, noise[0], clip)
    else:
        x = _ancestral(plan, predict, noise, clip)
    return x.clamp(-1, 1) if clip else x


def _ancestral(plan: Plan, predict: Predictor, noise: Tensor, clip: bool) -> Tensor:
    """Step from level to level: every step is c1 x0hat + c2 x, for ddpm with noise."""
    x = noise[0]  # (B, D)
    for j, ((here,), _) in enumerate(plan.moves):
        c1, c2, s = coefficients(plan, j)
        x = torch.add(_x0(plan, here, x, predict(x, j), clip) * c1, x, alpha=c2)
        x = torch.add(x, noise[j + 1], alpha=s) if s else x
    return x


def coefficients(plan: Plan, j: int) -> tuple[float, float, float]:
    """Return c1, c2 and the noise's share of step j, which is 0 where none is added."""
    ((here,), there) = plan.moves[j]
    if plan.solver == "ddim":
        c2 = there.sigma / here.sigma
        return there.alpha - c2 * here.alpha, c2, 0.0
    alpha = (here.alpha / there.alpha) ** 2  # of this step alone; beta = 1 - alpha
    beta, variance = 1 - alpha, here.sigma**2
    c1, c2 = beta * there.alpha / variance, there.sigma**2 * sqrt(alpha) / variance
    last = j + 1 == len(plan.moves)
    return c1, c2, 0.0 if last else sqrt(max(beta * there.sigma**2 / variance, 1e-20))


@cache
def kernel_steps(plan: Plan) -> tuple[Step, ...]:
    """Return the steps of a ddpm or ddim plan as the compiled kernel takes them."""
    noise = plan.predicts == "noise"
    return tuple(
        Step(*((1, here.sigma, 1 / here.alpha) if noise else (0, -1, 1)), *coefficients(plan, j))
        for j, ((here,), _) in enumerate(plan.moves)
    )


def _singlestep(plan: Plan, predict: Predictor, x: Tensor, clip: bool) -> Tensor:
    """Integrate the probability flow with steps of order 1 to 3."""
    count = 0  # evaluations made

    def eps(y: Tensor, point: Point) -> Tensor:
        """Return the noise that the predictor finds; with `clip` bounded so that x0hat stays in the box."""
        nonlocal count
        count += 1
        found = predict(y, count - 1)
        if plan.predicts == "noise" and not clip:
            return found
        return (y - _x0(plan, point, y, found, clip) * point.alpha) / point.sigma

    for at, to in plan.moves:
        x = (_order1, _order2, _order3)[len(at) - 1](x, at, to, eps)
    return x


def _order1(x: Tensor, at: tuple[Point, ...], to: Point, eps: Estimate) -> Tensor:
    return _along(x, at[0], to, eps(x, at[0]))


def _order2(x: Tensor, at: tuple[Point, ...], to: Point, eps: Estimate) -> Tensor:
    start, middle = at
    return _along(x, start, to, eps(_along(x, start, middle, eps(x, start)), middle))


def _order3(x: Tensor, at: tuple[Point, ...], to: Point, eps: Estimate) -> Tensor:
    start, first, second = at  # at 1/3 and 2/3 of the way in lam
    e = eps(x, start)
    d1 = eps(_along(x, start, first, e), first) - e
    h = second.lam - start.lam
    u = _along(x, start, second, e) - d1 * (2 * second.sigma * (expm1(h) / h - 1))
    d2 = eps(u, second) - e
    h = to.lam - start.lam
    return _along(x, start, to, e) - d2 * (1.5 * to.sigma * (expm1(h) / h - 1))


def _along(x: Tensor, start: Point, to: Point, e: Tensor) -> Tensor:
    """Return the first-order step: alpha_t / alpha_s x - sigma_t (e^h - 1) eps."""
    return x * (to.alpha / start.alpha) - e * (to.sigma * expm1(to.lam - start.lam))


def _x0(plan: Plan, point: Point, x: Tensor, found: Tensor, clip: bool) -> Tensor:
    """Return x0hat at a point, of what the predictor found there."""
    x0 = found if plan.predicts == "action" else torch.sub(x, found, alpha=point.sigma) * (1 / point.alpha)
    return x0.clamp(-1, 1) if clip else x0


def _point(level: float, abar: float) -> Point:
    alpha, sigma = sqrt(abar), sqrt(1 - abar)
    return Point(level, alpha, sigma, float(np.log(alpha / sigma)) if sigma > 0 else float("inf"))


def dpm_orders(evaluations: int) -> list[int]:
    """Return the orders of the steps: threes, and lower ones at the end (15: 3, 3, 3, 3, 2, 1)."""
    if evaluations < 1:
        raise ValueError(f"solver dpm takes at least 1 evaluation; got {evaluations}")
    count, rest = divmod(evaluations, 3)
    if rest:
        return [3] * count + [rest]
    return [3] * (count - 1) + [2, 1]


def _dpm_moves(abar: np.ndarray, evaluations: int) -> tuple[Move, ...]:
    """Plan steps of order 3, 3, .. and what is left, on a grid uniform in time.

    Level i is time (i + 1)/K; ln abar is linear between levels; inner times are found by inverting lam.
    """
    if abar[0] < LEAST_CLEAN:
        raise ValueError(
            f"solver dpm stops at level 0, where {1 - abar[0]:.0%} of the variance is still noise; "
            "use more diffusion steps, or solver ddpm or ddim"
        )
    size, orders = len(abar), dpm_orders(evaluations)
    times, logs = np.arange(1, size + 1) / size, np.log(abar)
    grid = np.linspace(1, 1 / size, len(orders) + 1)

    def at_time(t: float) -> Point:
        return _point(t * size - 1, float(np.exp(np.interp(t, times, logs))))

    def at_lam(lam: float) -> Point:
        log_abar = -np.logaddexp(0, -2 * lam)
        return at_time(float(np.interp(-log_abar, -logs, times)))

    moves = []
    for order, first, last in zip(orders, grid[:-1], grid[1:]):
        start, end = at_time(first), at_time(last)
        inner = [start.lam + j / order * (end.lam - start.lam) for j in range(1, order)]
        moves.append(Move((start, *map(at_lam, inner)), end))
    return tuple(moves)
