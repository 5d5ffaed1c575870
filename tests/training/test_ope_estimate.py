"""Estimates: means with intervals over members and episodes, and differences that share their draws."""

from dataclasses import replace

import numpy as np
import pytest

from trajrl.training.ope.estimate import Estimates, joined, resampled, widening


def test_the_value_is_the_mean_and_the_interval_that_of_a_mean():
    values = np.random.default_rng(0).normal(5, 2, (1, 1, 400))
    found = resampled("x", values, 0)
    assert found.value[0] == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert (found.high - found.low)[0] / 2 == pytest.approx(half, rel=0.1)


def test_members_that_disagree_widen_the_interval():
    values = np.zeros((1, 5, 10))
    values[0, :, :] = np.arange(5)[:, None]
    found = resampled("x", values, 0)
    assert (found.low[0], found.high[0]) == (0, 4)


def test_a_small_difference_in_every_episode_is_no_tie():
    base = np.random.default_rng(0).normal(0, 10, 50)
    found = resampled("x", np.stack([base, base + 0.1, base])[:, None], 0)
    assert found.order.tolist() == [1, 2, 0]  # of equals the later
    assert found.tied(1).tolist() == [False, True, False]
    assert (found.low < 0).all()  # each interval by itself is far wider than the difference
    assert found.tied(0).tolist() == [True, False, True]


@pytest.mark.parametrize("episodes", [2, 3, 6, 20])
def test_equal_policies_are_seldom_set_apart_however_few_the_episodes(episodes):
    rng = np.random.default_rng(episodes)
    pairs = (rng.normal(size=(2, 1, episodes)) for _ in range(400))
    apart = [not resampled("x", values, 0).tied(0)[1] for values in pairs]
    assert 0.01 < np.mean(apart) < 0.1  # draws from two episodes have no tail: 0.09


def test_the_quantile_of_student_s_t():
    from scipy.stats import t

    for episodes in (3, 4, 6, 20, 500):
        width = t.ppf(0.975, episodes - 1) / 1.959964 * np.sqrt(episodes / (episodes - 1))
        assert widening(episodes) == pytest.approx(width, rel=0.04)
    assert widening(1) == 1


def test_least_is_first_where_less_is_better():
    found = resampled("x", np.array([3.0, 1.0, 2.0])[:, None, None], 0, higher_is_better=False)
    assert found.order.tolist() == [1, 2, 0]


def test_episodes_without_a_number_are_left_out():
    found = resampled("x", np.array([[[1.0, 3.0, np.nan]]]), 0)
    assert found.value.tolist() == [2.0]
    width = widening(2)
    assert (found.low[0], found.high[0]) == pytest.approx((2 - width, 2 + width))


def test_parts_are_put_at_their_places():
    parts = [resampled("x", np.full((2, 1, 3), 1.0), 0), resampled("x", np.full((1, 1, 3), 2.0), 0)]
    found = joined(parts, [[0, 2], [1]])
    assert found.value.tolist() == [1, 2, 1]
    assert isinstance(found, Estimates)


def test_of_one_episode_nothing_is_separated():
    known = np.array([[[1.0, np.nan]], [[2.0, np.nan]]])
    assert resampled("x", known, 0).tied(1).all()
    parts = [resampled("x", known[:1], 0), resampled("x", known[1:], 0)]
    assert joined(parts, [[0], [1]]).tied(1).all()


def test_of_one_fitted_network_nothing_is_separated():
    known = np.array([[[1.0, 1.0]], [[2.0, 2.0]]])
    found = resampled("x", known, 0)
    assert found.tied(1).tolist() == [False, True]
    assert replace(found, members=1).tied(1).all()
    assert joined([found, replace(found, members=1)], [[0, 1], [2, 3]]).tied(1).all()
