"""Advantage: what an episode brought beyond what fits without it predict of its first observation."""

import numpy as np
import pytest

from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.samplers.base.start_values import FOLDS, RIDGES, start_values
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore


def written_out(first: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """Held-out ridge regression on o_0 and its squares, one episode at a time."""
    z = (first - first.mean(0)) / first.std(0)
    x, n = np.column_stack([np.ones(len(z)), z, z**2 - 1]), len(z)
    penalty = np.eye(x.shape[1])
    penalty[0, 0] = 0
    predictions = []
    for ridge in [*RIDGES, None]:
        held = np.zeros(n)
        for e in range(n):
            kept = np.arange(n) % FOLDS != e % FOLDS
            a, y = x[kept], returns[kept]
            w = None if ridge is None else np.linalg.solve(a.T @ a + ridge * n * penalty, a.T @ y)
            held[e] = y.mean() if w is None else x[e] @ w
        predictions.append(held)
    errors = [np.square(held - returns).mean() for held in predictions]
    best = int(np.argmin(errors))
    return predictions[best] if best < len(RIDGES) else np.full(n, returns.mean())


def started(count: int = 60, explained: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = stream(seed, "test", count)
    first = rng.normal(size=(count, 3)) * [1, 10, 0.1] + 5
    curve = first[:, 0] + 0.3 * np.square(first[:, 1] - 5) / 10
    return first, explained * curve + rng.normal(size=count)


@pytest.mark.parametrize("explained", [0.0, 0.3, 1.0])
def test_the_value_of_a_start_is_the_held_out_fit(explained):
    first, returns = started(explained=explained)
    np.testing.assert_allclose(start_values(first, returns), written_out(first, returns), atol=1e-6)


def test_where_starts_predict_nothing_it_is_mostly_the_mean_return():
    found = []
    for seed in range(20):
        first, returns = started(explained=0.0, seed=seed)
        found.append(np.ptp(start_values(first, returns)) / returns.std())
    assert np.mean(np.array(found) == 0) >= 0.5


def test_few_episodes_have_the_mean():
    first, returns = started(2 * FOLDS - 1)
    np.testing.assert_allclose(start_values(first, returns), returns.mean())


def store_of(first: np.ndarray, returns: np.ndarray) -> TrajectoryStore:
    lengths = 2 + np.arange(len(returns)) % 4
    return TrajectoryStore.of(
        Episode(np.repeat(o[None], t + 1, 0), np.zeros((t, 1)), np.full(t, g / t), False)
        for o, g, t in zip(first, returns, lengths)
    )


def test_it_draws_by_the_exponential_of_the_advantage():
    first, returns = started()
    store = store_of(first, returns)
    sampler = make_sampler("advantage", store, temperature=0.2)
    length, g = store.table.length, store.table.returns
    a = g - written_out(store.obs.rows(store.table.start + np.arange(60)).astype(float), g)
    mass = np.exp((a - a.min()) / (a.max() - a.min()) / 0.2) * length
    np.testing.assert_allclose(sampler.probabilities(), mass / mass.sum(), rtol=1e-4)


def test_it_takes_no_luck_for_prediction_where_a_fit_to_all_does():
    """20 numbers at the start predict nothing of 50 returns, but a line through all of them fits half."""
    rng = stream(1, "test")
    first, returns = rng.normal(size=(50, 20)), rng.normal(size=50)
    store = store_of(first, returns)
    rank = np.argsort(np.argsort(returns))
    by = {
        name: make_sampler(name, store, temperature=0.2).probabilities() for name in ("advantage", "weighted")
    }
    per_step = {name: np.argsort(np.argsort(p / store.table.length)) for name, p in by.items()}
    close = {name: np.corrcoef(found, rank)[0, 1] for name, found in per_step.items()}
    assert close["advantage"] > 0.99 > 0.9 > close["weighted"]


def test_a_wide_first_observation_is_left_alone():
    rng = stream(1, "wide")
    sampler = make_sampler("advantage", store_of(rng.normal(size=(12, 600)), rng.normal(size=12)))
    assert "o_0 has 600 numbers, V takes at most 512: it is the mean" in sampler.notes[0]
