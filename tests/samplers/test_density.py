"""Density: the dual's minimum, what the learned weights prefer, the floor under them, and new episodes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import population, returns_store

from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.samplers.base.flow_ratio import LEAST_ETA, Dual, fit_ratio
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore


def problem(m: int = 200, d: int = 4, kl: float = 0.5, seed: int = 0) -> Dual:
    rng = stream(seed, "test")
    psi = rng.normal(size=(m, d))
    return Dual(rng.normal(size=m) + psi[:, 0] / 2, psi - psi.mean(0), kl, 1e-3)


def ratio(dual: Dual, theta: np.ndarray, eta: float) -> np.ndarray:
    w = np.exp((dual.r + dual.psi @ theta) / eta)
    return w / w.sum()


def test_gradient_and_hessian_are_those_of_the_dual():
    dual, rng = problem(), stream(0, "point")
    x = np.append(0.3 * rng.normal(size=4), 0.8)
    gradient, hessian = dual.derivatives(x[:-1], x[-1])
    for k in range(5):
        h = np.zeros(5)
        h[k] = 1e-5
        up, down = (dual.value((x + s * h)[:-1], (x + s * h)[-1]) for s in (1, -1))
        assert gradient[k] == pytest.approx((up - down) / 2e-5, abs=1e-7)
        up, down = (dual.derivatives((x + s * h)[:-1], (x + s * h)[-1])[0] for s in (1, -1))
        np.testing.assert_allclose(hessian[k], (up - down) / 2e-5, atol=1e-6)


@settings(max_examples=20)
@given(kl=st.floats(0.05, 2.0), seed=st.integers(0, 100))
def test_at_the_minimum_the_divergence_is_the_bound_and_as_much_is_brought_as_taken(kl, seed):
    dual = problem(kl=kl, seed=seed)
    theta, eta = fit_ratio(dual)
    p = ratio(dual, theta, eta)
    assert p @ np.log(p * len(p)) == pytest.approx(kl, abs=1e-8)
    np.testing.assert_allclose(p @ dual.psi, -dual.ridge * theta, atol=1e-8)
    assert p @ dual.r > dual.r.mean()


def test_a_bound_that_ties_rule_out_leaves_the_best_alike():
    """6 of 10 steps earn 1: the divergence is at most log(10 / 6), below the bound."""
    dual = Dual(np.repeat([1.0, 0.0], [6, 4]) / np.sqrt(0.24), np.zeros((10, 2)), 0.7, 1e-3)
    _, eta = fit_ratio(dual)
    assert eta == LEAST_ETA
    p = np.exp((dual.r - dual.r.max()) / eta)
    np.testing.assert_allclose(p / p.sum(), np.repeat([1 / 6, 0.0], [6, 4]), atol=1e-9)


def halves(count: int = 20) -> TrajectoryStore:
    """Return episodes that walk 0, 1, .. 9 and earn in their second half alone, some in none."""
    store = TrajectoryStore()
    for i in range(count):
        earned = np.arange(10) >= 5 if i % 2 else np.zeros(10)
        place = np.arange(11.0)[:, None] + 0.01 * stream(i, "place").normal(size=(11, 1))
        store.append(Episode(np.hstack([place, np.full((11, 1), i % 2)]), np.zeros((10, 1)), earned, False))
    return store


def test_good_steps_are_drawn_and_not_only_good_episodes():
    store = halves()
    drawn = make_sampler("density", store, kl=0.5, floor=0.0).sample(stream(0, "x"), 4000)
    assert (drawn.episode % 2).mean() > 0.7
    step = drawn.step[drawn.episode % 2 == 1]
    assert (step >= 5).mean() > 0.55  # half of them would be, without a law over steps


def test_what_is_visited_is_what_is_reached():
    """What earns lies in the second half; a policy that is there has walked the first."""
    found = {}
    for ridge in (1e-4, 1e6):
        sampler = make_sampler("density", halves(), kl=0.5, floor=0.0, ridge=ridge)
        p = np.diff(sampler.state_dict()["edges"]).reshape(20, 10)
        found[ridge] = p[1::2, :5].sum() / p[1::2].sum()  # of good episodes, the half that leads there
    assert found[1e-4] > found[1e6] + 0.1


@pytest.mark.parametrize("unit", [0.01, 250.0])
def test_the_unit_of_rewards_decides_nothing(unit):
    rng = stream(0, "rewards")
    rewards = [rng.normal(size=6 + i % 3) for i in range(30)]
    stores = [
        TrajectoryStore.of(
            Episode(obs_of(r, i), np.zeros((len(r), 1)), r * u, False) for i, r in enumerate(rewards)
        )
        for u in (1.0, unit)
    ]
    one, other = (make_sampler("density", store) for store in stores)
    np.testing.assert_allclose(one.probabilities(), other.probabilities(), rtol=1e-4)


def obs_of(rewards: np.ndarray, seed: int) -> np.ndarray:
    return stream(seed, "obs").normal(size=(len(rewards) + 1, 2))


@settings(max_examples=20)
@given(ess=st.floats(0.05, 1.0), kl=st.floats(0.05, 3.0))
def test_no_law_falls_below_the_effective_share(ess, kl):
    sampler = make_sampler("density", population(), ess=ess, kl=kl, floor=0.0)
    p = np.diff(sampler.state_dict()["edges"])
    assert 1 / (len(p) * np.square(p).sum()) >= ess * (1 - 1e-6)
    assert sampler.stats()["window_share"] == pytest.approx(1 / (len(p) * np.square(p).sum()))


def test_rewards_that_are_all_the_same_are_drawn_alike_and_that_is_noted():
    store = returns_store([4.0, 6.0], [4, 6])
    sampler = make_sampler("density", store)
    np.testing.assert_allclose(sampler.probabilities(), [0.4, 0.6])
    assert "all rewards are the same" in sampler.notes[0]


def test_new_episodes_are_weighed_by_the_fit_in_force_until_one_is_due():
    store = population()
    sampler = make_sampler("density", store, refit_every=10)
    theta = sampler.theta
    store.append(next(iter(population(3).episodes())), "online")
    sampler.refresh(5)
    assert sampler.theta is theta
    assert sampler.probabilities()[24] == pytest.approx(sampler.probabilities()[0])  # the same steps
    store.append(next(iter(population(2).episodes())), "online")
    sampler.refresh(10)
    assert not np.array_equal(sampler.theta, theta)


def test_twice_the_steps_are_fitted_at_once():
    store = population()
    sampler = make_sampler("density", store, refit_every=10**6)
    theta = sampler.theta
    for episode in population(30).episodes():
        store.append(episode, "online")
    sampler.refresh(1)
    assert not np.array_equal(sampler.theta, theta)


def test_wide_observations_are_projected():
    rng = stream(0, "wide")
    store = TrajectoryStore.of(
        Episode(rng.normal(size=(6, 90)), np.zeros((5, 1)), rng.normal(size=5), False) for _ in range(20)
    )
    assert len(make_sampler("density", store).theta) == 2 * 64
