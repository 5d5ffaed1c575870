"""Quality buckets: thresholds per cluster of states, estimated shares, schedules, figures against sources."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from populations import episode, population, returns_store

from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.samplers.base.expert_auroc import separation
from trajrl.samplers.base.quality_buckets import HIGH, LOW, UNKNOWN, group_scores, is_high
from trajrl.samplers.base.split import estimated_share, limit_of_best, otsu, split
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore

ALL = {"judge": "critic", "score_rows": 10_000, "refresh_every": 10}


def two_sources(states_apart: bool = True) -> TrajectoryStore:
    """Return 20 episodes, every fourth an expert's; half of them in a place where Q is 100 higher."""
    store = TrajectoryStore()
    for i in range(20):
        expert, place = i % 4 == 0, i % 2 if not states_apart else (i // 4) % 2
        obs = np.full((7, 2), 50.0 * place) + stream(i, "test").normal(size=(7, 2))
        rewards = np.full(6, 2.0 if expert else 1.0)
        store.append(Episode(obs, np.zeros((6, 1)), rewards, False, None, "expert" if expert else "medium"))
    return store


def q_of(store: TrajectoryStore):
    """Return a score: 100 by place, 1 more for experts."""

    def score(anchors):
        rows = store.table.start[anchors.episode] + anchors.episode + anchors.step
        place = store.obs.rows(rows)[:, 0] > 25
        return 100.0 * place + (anchors.episode % 4 == 0) + 1e-3 * anchors.step

    return score


def test_the_threshold_of_a_cluster_of_states_sees_past_their_value():
    store = two_sources()
    fair = make_sampler("quality", store, states=2, **ALL)
    fair.refresh(1, q_of(store))
    assert fair.report["accuracy"] == 1
    assert fair.report["auroc"] == 1
    one = make_sampler("quality", store, states=1, **ALL)
    one.refresh(1, q_of(store))
    assert one.report["accuracy"] < 0.7
    assert one.report["balanced_accuracy"] < 0.7


def test_a_quantile_takes_the_given_share_of_each_cluster():
    store = two_sources()
    sampler = make_sampler("quality", store, states=2, threshold="quantile", share=0.25, **ALL)
    sampler.refresh(1, q_of(store))
    for c in range(2):
        inside = sampler.states.labels == c
        assert (sampler.bucket[inside] == HIGH).mean() == pytest.approx(0.25, abs=0.07)
    assert sampler.report["expected_share"] == 0.25


def test_otsu_finds_the_share_of_a_mixture_of_two():
    rng = stream(0, "test")
    score = np.concatenate([rng.normal(0, 1, 7000), rng.normal(8, 1, 3000)])
    assert estimated_share(score) == pytest.approx(0.3, abs=0.01)
    assert estimated_share(np.ones(10)) == 0.5


def test_a_low_side_of_few_is_set_aside_and_a_high_side_of_few_is_kept():
    rng = stream(1, "test")
    groups = [rng.normal(-30, 1, 300), rng.normal(0, 1, 7000), rng.normal(6, 1, 2700)]
    values = np.concatenate(groups)
    assert otsu(values) < -10  # which parts off the 300
    assert 1 < split(values, np.ones(10_000)).limit < 5
    few = np.concatenate([rng.normal(0, 1, 9500), rng.normal(30, 1, 500)])
    assert (few > split(few, np.ones(10_000)).limit).mean() == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize("values", [np.ones(5), np.zeros(0), np.array([1.0] * 999 + [2.0])])
def test_where_all_but_outliers_are_the_same_nothing_is_parted(values):
    assert split(values, np.ones(len(values))) == (np.inf, 0.0)


def test_failures_alone_are_parted_off_where_the_rest_is_the_same():
    values = np.repeat([0.0, 1.0], [15, 85])
    assert 0 <= split(values, np.ones(100)).limit < 1


@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 5)), min_size=1, max_size=30),
    st.floats(0.01, 1.0),
)
def test_an_episode_counts_by_its_length(pairs, share):
    value = np.array([float(v) for v, _ in pairs])
    weight = np.array([w for _, w in pairs])
    rows, ones = np.repeat(value, weight), np.ones(weight.sum())
    assert split(value, weight) == pytest.approx(split(rows, ones), rel=1e-6)
    limit = limit_of_best(value, weight, share)
    assert limit == limit_of_best(rows, ones, share)
    kept = rows > limit
    assert kept.mean() >= share - 1e-6
    assert (rows > rows[kept].min()).mean() < share  # no more than that takes


def test_the_gap_is_between_the_groups_in_their_deviation():
    rng = stream(2, "test")
    apart = np.concatenate([rng.normal(0, 1, 6000), rng.normal(9, 1, 4000)])
    ones = np.ones(10_000)
    assert split(apart, ones).gap == pytest.approx(9, rel=0.05)
    assert split(rng.normal(size=10_000), ones).gap == pytest.approx(2.65, abs=0.15)  # one group, cut in two
    assert split(np.array([1.0, 2.0]), np.array([50, 50])).gap == pytest.approx(1e6)


def test_trajectories_are_judged_whole_and_no_agent_is_asked():
    store = two_sources()

    def nobody(anchors):
        raise AssertionError("asked")

    sampler = make_sampler("quality", store, over_steps=1, low_end=0.0)
    sampler.refresh(5_000, nobody)
    assert sampler.report["accuracy"] == sampler.report["auroc"] == 1
    assert sampler.report["expected_share"] == 0.25
    expert = np.arange(20) % 4 == 0
    np.testing.assert_allclose(sampler.probabilities(), np.where(expert, 0.2, 0))
    np.testing.assert_array_equal(sampler.bucket == HIGH, np.repeat(expert, 6))


def test_an_episode_that_comes_later_is_judged_at_once_and_the_share_may_be_given():
    store = two_sources()
    sampler = make_sampler("quality", store, share=0.5)
    assert sampler.report["expected_share"] == 1  # the 50th of 100 ties with all that are no expert's
    better = np.full(6, 3.0)
    new = store.append(Episode(np.zeros((7, 2)), np.zeros((6, 1)), better, False, None, "expert"))
    sampler.refresh(1)
    assert (sampler.bucket[-6:] == HIGH).all()
    assert sampler.probabilities()[new] > 0


def test_where_no_episode_is_better_all_are_drawn_even_without_the_low_ones():
    store = returns_store([6.0] * 10, [6] * 10)
    sampler = make_sampler("quality", store, low_start=0.0, low_end=0.0)
    np.testing.assert_allclose(sampler.probabilities(), 0.1)


def test_a_share_less_than_the_best_episode_takes_that_whole():
    sampler = make_sampler("quality", returns_store([1.0] * 9 + [9.0], [6] * 10), share=0.05, low_start=0.0)
    assert (sampler.bucket == HIGH).sum() == 6


def test_a_run_of_before_is_judged_on_by_its_critic():
    store = two_sources()
    critic = make_sampler("quality", store, states=2, **ALL)
    critic.refresh(1, q_of(store))
    before = critic.state_dict()
    del before["judge"]
    again = make_sampler("quality", store, states=2, score_rows=10_000, refresh_every=10)
    again.load_state_dict(before)
    assert (again.bucket == critic.bucket).all()
    for sampler in (critic, again):
        sampler.refresh(10, lambda anchors: -q_of(store)(anchors))
    assert (again.bucket == critic.bucket).all()
    assert again.report == critic.report
    assert again.report["auroc"] == 0


def test_equal_values_are_all_low_and_the_law_stays_uniform():
    store = population()
    sampler = make_sampler("quality", store, over_steps=1, **ALL)
    sampler.refresh(10, lambda anchors: np.full(len(anchors.step), 0.1))
    assert (sampler.bucket == LOW).all()
    np.testing.assert_allclose(sampler.probabilities(), store.table.length / store.num_steps)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5)), min_size=1, max_size=40))
def test_the_mean_threshold_is_that_of_the_group(rows):
    group = np.array([g for g, _ in rows])
    q = np.array([float(v) for _, v in rows])
    high = is_high(group_scores(q, group), group, "mean", 0.5)
    for g in set(group.tolist()):
        inside = group == g
        np.testing.assert_array_equal(high[inside], q[inside] > q[inside].mean() + 1e-7)


def test_the_figures_equal_the_slow_loops():
    rng = stream(0, "test")
    expert = rng.random(60) < 0.3
    score = np.round(rng.normal(size=60) + expert, 1)  # with ties
    high = score > 0.5
    printed = separation(score, high, expert)
    wins = [(a > b) + 0.5 * (a == b) for a in score[expert] for b in score[~expert]]
    assert printed["auroc"] == pytest.approx(np.mean(wins))
    assert printed["accuracy"] == pytest.approx((high == expert).mean())
    both = (high[expert].mean() + (~high[~expert]).mean()) / 2
    assert printed["balanced_accuracy"] == pytest.approx(both)
    assert printed["expert_share"] == expert.mean()


def test_precision_at_the_true_share_of_a_perfect_and_a_blind_score():
    expert = np.arange(40) % 4 == 0
    assert separation(expert * 1.0, expert, expert)["precision_at_share"] == 1
    blind = separation(np.zeros(40), expert, expert)
    assert blind["precision_at_share"] == pytest.approx(0.25)
    assert blind["auroc"] == 0.5


def test_without_two_sources_no_figure_is_reported():
    store = TrajectoryStore.of(episode(5, seed=i) for i in range(6))
    sampler = make_sampler("quality", store, **ALL)
    sampler.refresh(1, lambda anchors: anchors.step.astype(float))
    assert set(sampler.report) == {"expected_share"}


def test_the_expert_source_may_be_named_and_must_exist():
    store = two_sources()
    sampler = make_sampler("quality", store, states=2, expert="medium", **ALL)
    sampler.refresh(1, q_of(store))
    assert sampler.report["auroc"] == 0
    wrong = make_sampler("quality", store, expert="mediun", **ALL)
    with pytest.raises(ValueError, match="did you mean 'medium'"):
        wrong.refresh(1, q_of(store))


@pytest.mark.parametrize(("low", "high"), [((1.0, 0.0), (1.0, 1.0)), ((0.2, 1.0), (1.0, 0.5))])
def test_weights_blend_in_either_direction(low, high):
    store = two_sources()
    options = {"low_start": low[0], "low_end": low[1], "high_start": high[0], "high_end": high[1]}
    sampler = make_sampler("quality", store, states=2, over_steps=100, **options, **ALL)
    for step, gone in ((1, 0.01), (50, 0.5), (100, 1.0), (500, 1.0)):
        sampler.refresh(step, q_of(store))
        weight_low = low[0] + gone * (low[1] - low[0])
        weight_high = high[0] + gone * (high[1] - high[0])
        share = 0.25 * weight_high / (0.25 * weight_high + 0.75 * weight_low)
        expert = np.arange(20) % 4 == 0
        assert sampler.probabilities()[expert].sum() == pytest.approx(share)


def test_rows_nobody_asked_about_weigh_the_mean_and_are_asked_first():
    store = two_sources()
    sampler = make_sampler("quality", store, judge="critic", states=2, score_rows=50, refresh_every=10)
    sampler.refresh(1, q_of(store))
    assert (sampler.bucket == UNKNOWN).sum() == 70
    sampler.refresh(10, q_of(store))
    sampler.refresh(20, q_of(store))
    assert not (sampler.bucket == UNKNOWN).any()


def test_the_smallest_critic_counts():
    store = two_sources()
    sampler = make_sampler("quality", store, **ALL)
    sampler.refresh(1, lambda anchors: np.stack([np.zeros(len(anchors.step)), -anchors.step], 1))
    assert sampler.q.min() == -5


def test_new_rows_are_taken_in_before_they_are_judged():
    store = two_sources()
    sampler = make_sampler("quality", store, states=2, **ALL)
    sampler.refresh(1, q_of(store))
    new = store.append(Episode(np.full((4, 2), 50.0), np.zeros((3, 1)), np.ones(3), False, None, "medium"))
    sampler.refresh(2, q_of(store))
    assert (sampler.bucket[-3:] == UNKNOWN).all()
    assert sampler.states.labels[-1] == sampler.states.labels[sampler.q.argmax()]
    assert sampler.probabilities()[new] > 0


def test_a_run_without_an_agent_to_ask_says_so():
    sampler = make_sampler("quality", population(), judge="critic", refresh_every=1)
    sampler.refresh(1)
    assert "no agent to ask" in sampler.notes[0]
