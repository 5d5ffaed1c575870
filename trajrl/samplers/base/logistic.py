"""A classifier with one hidden layer that is drawn and one that is learned: its logit is a log density ratio.

    h = (1, x, relu(x W + b)),   W_ij ~ N(0, 1 / d),  b ~ N(0, 1)      drawn once, by the seed
    beta = argmin  mean_pos log(1 + exp(-h.beta)) + mean_all log(1 + exp(h.beta)) + ridge / 2 |beta|^2

Both sides weigh the same, whatever their numbers; so h.beta is near log p_pos(x) / p_all(x).  The problem is
convex, and Newton steps from zero find its one answer.
"""

from __future__ import annotations

import numpy as np

STEPS, DONE = 50, 1e-16


def hidden(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return h (m, 1 + d + width) of x (m, d); the last row of weights (d + 1, width) is b."""
    return np.column_stack([np.ones(len(x)), x, np.maximum(0.0, x @ weights[:-1] + weights[-1])])


def drawn_weights(rng: np.random.Generator, inputs: int, width: int) -> np.ndarray:
    """Return W over b, (inputs + 1, width)."""
    return np.vstack(
        [rng.normal(size=(inputs, width)) / np.sqrt(max(1, inputs)), rng.normal(size=(1, width))]
    )


def fit_logit(positive: np.ndarray, everything: np.ndarray, ridge: float) -> np.ndarray:
    """Return beta (f,) of hidden layers of what is positive (m, f) and of everything (n, f)."""
    h = np.concatenate([positive, everything])
    mass = np.repeat([1 / len(positive), 1 / len(everything)], [len(positive), len(everything)])
    wanted = np.repeat([1.0, 0.0], [len(positive), len(everything)])
    beta = np.zeros(h.shape[1])

    def loss(beta: np.ndarray) -> float:
        logit = h @ beta
        return float(mass @ (np.logaddexp(0.0, logit) - wanted * logit) + ridge / 2 * beta @ beta)

    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(h @ beta, -700, 700)))
        gradient = h.T @ (mass * (p - wanted)) + ridge * beta
        hessian = h.T @ (h * (mass * p * (1 - p))[:, None]) + ridge * np.eye(len(beta))
        move = -np.linalg.solve(hessian, gradient)
        decrement, size, before = float(-gradient @ move), 1.0, loss(beta)
        while (
            decrement > 1e-9 and size > 1e-6 and loss(beta + size * move) > before - 1e-4 * size * decrement
        ):
            size /= 2
        beta = beta + size * move
        if decrement < DONE:
            break
    return beta
