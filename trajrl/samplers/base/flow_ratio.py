"""Ratios of steps that earn more and still are visits of one policy: relative entropy policy search's dual.

    max_p  sum_i p_i r_i    with  KL(p || 1/m) <= kl   and   sum_i p_i psi_i = 0
    min over theta and eta > 0 of   eta kl + eta log mean_i exp(delta_i / eta) + ridge / 2 |theta|^2
    delta_i = r_i + theta . psi_i,    p_i ~ exp(delta_i / eta)

psi_i = phi(o') - phi(o) is what step i brings to the features of states less what it takes: as much must be
brought as is taken.  The dual is convex; damped Newton steps find its minimum, always from the same start.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEAST_ETA = 1e-3  # of the spread of rewards: fewer steps than the bound allows are best, and alike
STEPS, HALVINGS = 100, 40
DONE = 1e-20  # of the Newton decrement: its square root is the error of the dual's variables


class Dual(NamedTuple):
    """The problem: rewards (m,) in units of their spread, flows (m, d), the bound, and the ridge."""

    r: np.ndarray
    psi: np.ndarray
    kl: float
    ridge: float

    def value(self, theta: np.ndarray, eta: float) -> float:
        """Return the dual."""
        scaled = (self.r + self.psi @ theta) / eta
        top = scaled.max()
        soft = top + np.log(np.exp(scaled - top).mean())
        return float(eta * (self.kl + soft) + self.ridge / 2 * theta @ theta)

    def derivatives(self, theta: np.ndarray, eta: float) -> tuple[np.ndarray, np.ndarray]:
        """Return gradient (d + 1,) and Hessian (d + 1, d + 1), theta first and eta last."""
        delta = self.r + self.psi @ theta
        p = np.exp((delta - delta.max()) / eta)
        p /= p.sum()
        divergence = np.log(len(p)) + (p * np.log(np.maximum(p, 1e-300))).sum()  # KL(p || 1/m)
        flow, mean = p @ self.psi, p @ delta
        both = np.column_stack([self.psi - flow, (mean - delta) / eta])  # (m, d + 1), centred under p
        hessian = both.T @ (p[:, None] * both) / eta
        ridges = np.append(np.full(len(theta), self.ridge), 0.0)
        gradient = np.append(flow, self.kl - divergence) + ridges * np.append(theta, 0.0)
        return gradient, hessian + np.diag(ridges)


def fit_ratio(dual: Dual) -> tuple[np.ndarray, float]:
    """Return theta (d,) and eta at the dual's minimum."""
    theta, eta = np.zeros(dual.psi.shape[1]), max(LEAST_ETA, float(dual.r.std()) / np.sqrt(2 * dual.kl))
    for _ in range(STEPS):
        gradient, hessian = dual.derivatives(theta, eta)
        if eta <= LEAST_ETA and gradient[-1] > 0:  # the bound is not reached: eta stays
            gradient[-1], hessian[-1], hessian[:, -1] = 0.0, 0.0, 0.0
        hessian[-1, -1] = max(hessian[-1, -1], 1e-12)
        move = -np.linalg.solve(hessian, gradient)
        decrement = float(-gradient @ move)
        theta, eta = _step(dual, theta, eta, move, decrement)
        if decrement < DONE:
            break
    return theta, eta


def _step(
    dual: Dual, theta: np.ndarray, eta: float, move: np.ndarray, decrement: float
) -> tuple[np.ndarray, float]:
    """Return what a Newton step leads to, halved until the dual falls; near the end it is taken whole."""
    before, size = dual.value(theta, eta), 1.0
    for _ in range(HALVINGS):
        there = theta + size * move[:-1], max(LEAST_ETA, eta / 4, eta + size * float(move[-1]))
        if decrement < 1e-9 or dual.value(*there) <= before - 1e-4 * size * decrement:
            return there
        size /= 2
    return theta, eta
