"""Return-weighted laws and the best by return: golden values, ties, floors, caps, degenerate data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from populations import episode, population, returns_store

from trajrl.samplers import make_sampler
from trajrl.samplers.base.exponential_law import capped
from trajrl.samplers.base.returns import best, minmax
from trajrl.samplers.weighted import linear_value
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore


@pytest.mark.parametrize(
    ("temperature", "mass"),
    [(0.1, (0.0000896, 0.0132955, 0.9866149)), (0.2, (0.011443, 0.139405, 0.849152))],
)
def test_return_weighting_has_its_golden_values(temperature, mass):
    store = returns_store([0, 0.5, 1], [10, 10, 5])
    sampler = make_sampler("weighted", store, law="rw", temperature=temperature)
    np.testing.assert_allclose(sampler.probabilities(), mass, atol=1e-6)


def test_a_new_best_return_changes_the_scale():
    store = returns_store([0, 1], [4, 4])
    sampler = make_sampler("weighted", store, law="rw", temperature=0.5)
    store.append(episode(4, 0.5))  # a return of 2: the others are now 0 and 0.5
    sampler.refresh(1)
    law = np.exp(np.array([0, 0.5, 1]) / 0.5)
    np.testing.assert_allclose(sampler.probabilities(), law / law.sum())


def test_an_exponent_of_zero_weighs_short_and_long_episodes_the_same():
    store = returns_store([0, 1, 1], [10, 10, 2])
    p = make_sampler("weighted", store, law="rw", exponent=0.0).probabilities()
    assert p[1] == pytest.approx(p[2])


def test_equal_returns_are_uniform_over_steps():
    store = returns_store([3, 3, 3], [2, 3, 5])
    for law in ("aw", "rw"):
        np.testing.assert_allclose(make_sampler("weighted", store, law=law).probabilities(), [0.2, 0.3, 0.5])


def test_aw_weighs_what_the_first_observation_does_not_explain():
    store = _store_by_start(returns=lambda x, extra: 100 * x + extra)
    p = make_sampler("weighted", store, law="aw", temperature=0.3).probabilities()
    good = np.arange(40) % 2 == 1
    assert p[good].min() > p[~good].max()
    rw = make_sampler("weighted", store, law="rw", temperature=0.3).probabilities()
    assert rw[good].min() < rw[~good].max()


def test_aw_is_uniform_where_the_first_observation_explains_everything():
    sampler = make_sampler("weighted", _store_by_start(returns=lambda x, extra: 100 * x))
    np.testing.assert_allclose(sampler.probabilities(), 1 / 40)
    assert "explains every return" in sampler.notes[0]


def test_aw_of_few_episodes_falls_back_to_rw_and_says_so():
    store = returns_store([0, 0.5, 1], [10, 10, 5])
    sampler = make_sampler("weighted", store, law="aw")
    assert "too few" in sampler.notes[0]
    np.testing.assert_allclose(
        sampler.probabilities(), make_sampler("weighted", store, law="rw").probabilities()
    )


def test_the_linear_value_is_ordinary_least_squares():
    x = np.random.Generator(np.random.Philox(1)).normal(size=(50, 3))
    g = x @ [1.0, -2.0, 0.5] + x[:, 0] ** 2
    design = np.column_stack([np.ones(50), x])
    np.testing.assert_allclose(
        linear_value(x, g), design @ np.linalg.lstsq(design, g, rcond=None)[0], atol=1e-9
    )


def test_the_linear_value_survives_constant_and_repeated_columns():
    x = np.random.Generator(np.random.Philox(1)).normal(size=(50, 1))
    degenerate = np.column_stack([x, x, np.ones(50)])
    np.testing.assert_allclose(linear_value(degenerate, x[:, 0] * 3), x[:, 0] * 3, atol=1e-4)


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=12), st.floats(0, 1))
def test_no_episode_takes_more_than_its_share(masses, limit):
    p = np.array(masses) / sum(masses)
    cut = capped(p, limit)
    assert cut.sum() == pytest.approx(1)
    assert cut.max() <= max(limit, 1 / len(p)) + 1e-9
    assert (np.diff(cut[np.argsort(p)]) >= -1e-9).all()
    if p.max() <= limit:
        np.testing.assert_allclose(cut, p)


@given(st.lists(st.integers(0, 4).map(float), min_size=1, max_size=20), st.integers(1, 20))
def test_the_best_share_their_places_where_tied(values, places):
    array = np.array(values)
    places = min(places, len(array))
    kept = best(array, places)
    assert kept.sum() == pytest.approx(places)
    assert all(len(set(kept[array == v])) == 1 for v in array)
    assert set(kept[array > np.sort(array)[len(array) - places]]) <= {1.0}


def test_top_keeps_the_best_floor_of_the_share():
    store = returns_store([1, 5, 3, 4, 2], [2, 3, 4, 5, 6])
    p = make_sampler("top", store, share=0.5).probabilities()  # floor(2.5) = 2
    np.testing.assert_allclose(p, [0, 3 / 8, 0, 5 / 8, 0])


def test_top_of_equal_returns_is_uniform_and_not_the_first_stored():
    store = returns_store([1, 1, 1, 1], [2, 2, 2, 2])
    np.testing.assert_allclose(make_sampler("top", store, share=0.25).probabilities(), 0.25)


def test_top_keeps_at_least_one_and_says_so():
    sampler = make_sampler("top", returns_store([1, 3, 2], [2, 2, 2]), share=0.1)
    np.testing.assert_allclose(sampler.probabilities(), [0, 1, 0])
    assert "the best one is kept" in sampler.notes[0]


@pytest.mark.parametrize("name", ["top", "weighted"])
def test_the_floor_is_uniform_over_episodes(name):
    store = population()
    plain = make_sampler(name, store).probabilities()
    floored = make_sampler(name, store, floor=0.2).probabilities()
    np.testing.assert_allclose(floored, 0.8 * plain + 0.2 / len(store))


def test_minmax_of_equal_values_is_zero():
    np.testing.assert_array_equal(minmax(np.array([2.0, 2.0, 2.0 + 1e-7])), 0)


def _store_by_start(returns) -> TrajectoryStore:
    """Return 40 episodes of 2 steps: the first observation is x, every second one has a return of 1 more."""
    store = TrajectoryStore()
    for i in range(40):
        x = float(i // 2)
        obs = np.array([[x], [0.0], [0.0]])
        total = returns(x, float(i % 2))
        store.append(Episode(obs, np.zeros((2, 1)), np.full(2, total / 2), False))
    return store


@pytest.mark.parametrize("options", [{"temperature": 1e-308}, {"exponent": 5000.0}, {"exponent": -5000.0}])
@pytest.mark.parametrize("law", ["aw", "rw"])
def test_no_temperature_or_exponent_is_too_far(law, options):
    p = make_sampler("weighted", population(), law=law, **options).probabilities()
    assert np.isfinite(p).all()
    assert p.sum() == pytest.approx(1)
