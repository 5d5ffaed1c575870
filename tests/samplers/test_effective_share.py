"""The floor under the effective share of windows: its formula, and that no law with it falls below."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import returns_store

from trajrl.samplers import make_sampler
from trajrl.samplers.base.exponential_law import COLDEST, effective_share


def share_of_windows(p: np.ndarray, length: np.ndarray) -> float:
    """(sum w)^2 / sum w^2 over every window, written out, as a share of their number."""
    w = np.array([mass / t for mass, t in zip(p, length) for _ in range(t)])
    return w.sum() ** 2 / np.square(w).sum() / len(w)


def test_the_share_is_that_of_the_weights_of_all_windows():
    p, length = np.array([0.5, 0.2, 0.3]), np.array([4, 1, 7])
    assert effective_share(p, length) == pytest.approx(share_of_windows(p, length))
    assert effective_share(length / 12, length) == pytest.approx(1.0)  # uniform over steps
    assert effective_share(np.array([1.0, 0.0, 0.0]), length) == pytest.approx(4 / 12)


@settings(max_examples=40)
@given(
    name=st.sampled_from(["advantage", "weighted"]),
    episodes=st.lists(st.tuples(st.floats(-1e3, 1e3, width=32), st.integers(1, 9)), min_size=1, max_size=30),
    ess=st.floats(0.01, 1.0),
)
def test_no_law_falls_below_its_floor(name, episodes, ess):
    returns, lengths = map(list, zip(*episodes))
    sampler = make_sampler(name, returns_store(returns, lengths), ess=ess)
    assert share_of_windows(sampler.probabilities(), np.array(lengths)) >= ess * (1 - 1e-6)
    assert sampler.notes == [] or "too few" in sampler.notes[0] or "explains" in sampler.notes[0]


@pytest.mark.parametrize("ess", [0.05, 0.3, 0.9])
def test_the_temperature_is_the_lowest_that_keeps_the_floor(ess):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 20, 200)
    store = returns_store(rng.normal(size=200).tolist(), lengths.tolist())
    sampler = make_sampler("weighted", store, law="rw", ess=ess)
    assert share_of_windows(sampler.probabilities(), lengths) == pytest.approx(ess, rel=1e-3)
    colder = make_sampler("weighted", store, law="rw", temperature=0.99 * sampler.temperature)
    assert share_of_windows(colder.probabilities(), lengths) < ess
    same = make_sampler("weighted", store, law="rw", temperature=sampler.temperature)
    assert np.array_equal(same.probabilities(), sampler.probabilities())


def test_where_so_many_are_best_no_others_are_drawn():
    store = returns_store([1, 1, 0, 0], [5, 5, 5, 5])
    sampler = make_sampler("weighted", store, law="rw", ess=0.4)
    np.testing.assert_allclose(sampler.probabilities(), [0.5, 0.5, 0, 0])
    assert sampler.temperature == COLDEST


def test_a_floor_that_another_option_rules_out_is_noted():
    store = returns_store([2, 1, 0], [1, 1, 100])
    sampler = make_sampler("weighted", store, law="rw", exponent=0.0, ess=0.9)
    assert "an effective share of 0.9 is reached at no temperature" in sampler.notes[0]


def test_a_new_episode_moves_the_temperature():
    from populations import episode

    store = returns_store([0, 1, 2, 3], [5, 5, 5, 5])
    sampler = make_sampler("weighted", store, law="rw", ess=0.5)
    before = sampler.temperature
    store.append(episode(5, 10.0))
    sampler.refresh(1)
    assert sampler.temperature != before
    assert share_of_windows(sampler.probabilities(), np.full(5, 5)) == pytest.approx(0.5, rel=1e-3)


@pytest.mark.slow
def test_a_million_episodes_take_a_second():
    from time import process_time

    from trajrl.samplers.base.exponential_law import ExponentialConfig, exponential_law

    rng = np.random.default_rng(0)
    worth, length = rng.normal(size=1_000_000), rng.integers(1, 1000, 1_000_000)
    began = process_time()
    p, _ = exponential_law(worth, length, ExponentialConfig(ess=0.3))
    assert process_time() - began < 5
    assert effective_share(p, length) == pytest.approx(0.3, rel=1e-3)
