"""Statistics against scipy, a slow loop, and cases worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from trajrl.core.rng import stream
from trajrl.report import stats

finite = st.floats(-1e3, 1e3, width=32)


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=1, max_size=40))
def test_iqm_is_the_trimmed_mean(values):
    assert stats.iqm(np.array(values)) == pytest.approx(scipy_stats.trim_mean(values, 0.25), abs=1e-6)


def test_iqm_of_three_runs_is_their_mean_and_of_four_the_middle_two():
    assert stats.iqm(np.array([0.0, 1.0, 8.0])) == 3.0
    assert stats.iqm(np.array([100.0, 1.0, 3.0, -100.0])) == 2.0


@settings(max_examples=30, deadline=None)
@given(st.lists(finite, min_size=1, max_size=12), st.integers(0, 99))
def test_counts_give_what_resampled_values_give(values, seed):
    x = np.array(values)
    counts = stream(seed, "test").multinomial(len(x), np.full(len(x), 1 / len(x)), size=5)
    for row, mean, middle in zip(counts, stats.weighted_mean(counts, x), stats.weighted_iqm(counts, x)):
        taken = np.repeat(x, row)
        assert mean == pytest.approx(taken.mean(), abs=1e-6)
        assert middle == pytest.approx(scipy_stats.trim_mean(taken, 0.25), abs=1e-6)


def test_interval_agrees_with_a_slow_bootstrap_of_each_task_by_itself():
    rng = stream(0, "test")
    tasks = [rng.normal(0, 1, 10), rng.normal(50, 5, 7)]
    slow = []
    for _ in range(3000):
        taken = [task[rng.integers(len(task), size=len(task))] for task in tasks]
        slow.append(scipy_stats.trim_mean(np.concatenate(taken), 0.25))
    found = stats.interval(tasks, resamples=3000)
    low, high = np.quantile(slow, (0.025, 0.975))
    assert found.value == pytest.approx(scipy_stats.trim_mean(np.concatenate(tasks), 0.25))
    assert found.low == pytest.approx(low, abs=0.1 * (high - low))
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))


def test_interval_of_the_mean_covers_the_truth_as_often_as_it_says():
    rng = stream(1, "test")
    hits = 0
    for trial in range(200):
        found = stats.interval([rng.normal(3, 1, 30)], stats.weighted_mean, seed=trial, resamples=400)
        hits += bool(found.low <= 3 <= found.high)
    assert 0.88 < hits / 200 < 0.99


def test_interval_is_a_function_of_its_seed():
    task = [stream(2, "test").normal(size=9)]
    assert stats.interval(task, seed=1) == stats.interval(task, seed=1)
    assert stats.interval(task, seed=1) != stats.interval(task, seed=2)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=9), st.lists(st.integers(0, 5), min_size=1, max_size=9)
)
def test_improvement_is_the_mann_whitney_statistic(x, y):
    expected = scipy_stats.mannwhitneyu(x, y).statistic / (len(x) * len(y))
    found = stats.improvement([np.array(x)], [np.array(y)], resamples=50)
    assert found.value == pytest.approx(expected)
    assert 0 <= found.low <= found.high <= 1


def test_improvement_averages_tasks_and_its_resamples_agree_with_a_loop():
    x, y = [np.array([1.0, 2.0]), np.array([0.0])], [np.array([1.5]), np.array([5.0])]
    assert stats.improvement(x, y).value == pytest.approx((0.5 + 0.0) / 2)
    with pytest.raises(ValueError, match="same tasks"):
        stats.improvement(x, y[:1])


def test_profile_is_the_share_of_runs_above():
    found = stats.profile([np.array([1.0, 2.0]), np.array([3.0, 4.0])], np.array([0.0, 2.0, 9.0]))
    assert found.value.tolist() == [1.0, 0.5, 0.0]
    assert found.low[0] == found.high[0] == 1.0
    assert found.low[1] <= 0.5 <= found.high[1]


def test_curve_leaves_missing_runs_out_step_by_step():
    runs = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan]])
    found = stats.curve(runs, stats.weighted_mean)
    assert found.value[:2].tolist() == [2.0, 2.0]
    assert np.isnan(found.value[2])
    assert (found.low[0], found.high[0]) == (1.0, 3.0)


def test_regret_weighs_gaps_by_the_steps_they_last():
    assert stats.regret(np.array([0, 10, 30]), np.array([0.0, 10.0, 10.0]), 10.0) == pytest.approx(50 / 30)
    assert stats.regret(np.array([5]), np.array([4.0]), 10.0) == 6.0
    assert stats.regret(np.array([0, 10]), np.array([10.0, 99.0]), 10.0) == 0.0


def test_drop_is_the_depth_below_the_start():
    assert stats.drop(np.array([5.0, 2.0, 9.0])) == 3.0
    assert stats.drop(np.array([5.0, 6.0])) == 0.0


@pytest.mark.parametrize("tasks", [[], [np.array([])], [np.array([np.nan])]])
def test_no_runs_and_no_numbers_are_refused(tasks):
    with pytest.raises(ValueError, match=r"a statistic needs|not a finite"):
        stats.interval(tasks)
