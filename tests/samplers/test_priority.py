"""Trajectory priorities: the rank law, what is never drawn, TD errors per trajectory, weights, starts."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from populations import episode, fixed_anchors, population, returns_store, score
from scipy.stats import rankdata

from trajrl.agents import make_agent
from trajrl.core.rng import stream, torch_stream
from trajrl.samplers import SAMPLERS, make_sampler
from trajrl.samplers.base.distributions import average_ranks, importance, rank_law
from trajrl.samplers.metrics import METRICS
from trajrl.samplers.options import with_window
from trajrl.store.gather import gather
from trajrl.store.store import TrajectoryStore
from trajrl.store.window import WindowSpec

SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30).map(np.array)


@pytest.mark.parametrize(
    ("scores", "law"),
    [
        ((3, 2, 1), (0.473609, 0.297948, 0.228443)),
        ((4, 3, 2, 1), (0.398999, 0.250418, 0.191628, 0.158956)),
        ((5, 4, 3, 2, 1), (0.351469, 0.220199, 0.168258, 0.139393, 0.120681)),
        ((3, 1, 1, 0), (0.403119, 0.218182, 0.218182, 0.160517)),
        ((5, 5, 2, 2, 1), (0.278686, 0.278686, 0.158478, 0.158478, 0.125672)),
        ((2, 2, 0.1, 0.1, 0.1), (0.280664, 0.280664, 0.146224, 0.146224, 0.146224)),
        ((7, 7, 7), (1 / 3, 1 / 3, 1 / 3)),
    ],
)
def test_the_rank_law_has_its_golden_values(scores, law):
    np.testing.assert_allclose(rank_law(np.array(scores, float)), law, atol=5e-7)


@given(SCORES)
def test_ranks_are_those_of_scipy(scores):
    np.testing.assert_array_equal(average_ranks(scores), rankdata(-scores, "average") - 1)


@given(SCORES, st.floats(0, 3), st.floats(0, 1))
def test_the_rank_law_sums_to_one_and_prefers_what_scores_higher(scores, alpha, floor):
    p = rank_law(scores, alpha, floor)
    assert p.sum() == pytest.approx(1)
    assert (p >= floor / len(p) - 1e-12).all()
    order = np.argsort(-scores, kind="stable")
    assert (np.diff(p[order]) <= 1e-12).all()


@given(SCORES, st.integers(0, 2**32 - 1))
def test_the_rank_law_does_not_depend_on_the_order_of_storage(scores, seed):
    order = stream(seed, "test").permutation(len(scores))
    np.testing.assert_allclose(rank_law(scores)[order], rank_law(scores[order]))


def test_alpha_zero_is_uniform():
    np.testing.assert_allclose(rank_law(np.array([3.0, 2.0, 1.0]), alpha=0), 1 / 3)


def slow_metric(name: str, rewards: np.ndarray, success: bool) -> float:
    ordered, n = np.sort(rewards), len(rewards)
    return {
        "avg_reward": rewards.mean(), "max_reward": ordered[-1], "min_reward": ordered[0],
        "return": rewards.sum(),
        "success_binary": 2.0 if success else 0.1, "uhm_reward": ordered[n // 2 :].mean(), "uniform": 1.0,
        "uqm_reward": ordered[int(0.75 * n) :].mean(),
    }[name]  # fmt: skip


@pytest.mark.parametrize(
    "name", sorted(name for name, metric in METRICS.items() if metric.evidence == "store")
)
def test_metrics_of_the_store_equal_the_slow_loop(name):
    store = TrajectoryStore()
    rewards = [stream(0, "test", i).normal(size=1 + i % 9) for i in range(40)]
    for i, r in enumerate(rewards):
        store.append(_with_rewards(r, success=i % 2 == 0))
    store.evict([4, 11])
    ids = store.live
    wanted = [slow_metric(name, rewards[i].astype(np.float32).astype(float), i % 2 == 0) for i in ids]
    np.testing.assert_allclose(METRICS[name].of(store, ids), wanted, rtol=1e-5)


def test_every_metric_makes_a_sampler():
    store = population()
    for name in METRICS:
        sampler = make_sampler("priority", store, metric=name)
        sampler.refresh(1, score)
        assert sampler.probabilities().sum() == pytest.approx(1)


def test_feedback_takes_one_step_of_the_average_per_trajectory():
    sampler = make_sampler("priority", population())
    sampler.feedback(fixed_anchors([2, 5, 2]), np.array([1.0, -4.0, 3.0]))
    assert sampler.evidence.value[[2, 5]] == pytest.approx([2.0, 4.0])  # first visit: the value itself
    sampler.feedback(fixed_anchors([2]), np.array([10.0]))
    assert sampler.evidence.value[2] == pytest.approx(0.9 * 2 + 0.1 * 10)
    assert sampler.evidence.seen.sum() == 2


def test_feedback_may_take_the_largest_row_of_a_trajectory():
    sampler = make_sampler("priority", population(), aggregate="max")
    sampler.feedback(fixed_anchors([2, 5, 2]), np.array([0.1, -0.4, -0.3]))
    assert sampler.evidence.value[[2, 5]] == pytest.approx([0.3, 0.4])


def test_what_was_never_drawn_is_tied_with_the_current_maximum():
    store = returns_store([1, 1, 1, 1], [2, 2, 2, 2])
    sampler = make_sampler("priority", store)
    sampler.feedback(fixed_anchors([0, 1]), np.array([1.0, 5.0]))
    sampler.refresh(100)
    p = sampler.probabilities()
    assert p[1] == p[2] == p[3] > p[0]
    new = store.append(episode(3))
    sampler.refresh(101)
    assert sampler.probabilities()[new] == sampler.probabilities()[1] > sampler.probabilities()[0]


def test_a_td_error_of_zero_is_seen_and_comes_last():
    sampler = make_sampler("priority", returns_store([1, 1, 1], [2, 2, 2]))
    sampler.feedback(fixed_anchors([0, 1]), np.array([0.0, 5.0]))
    sampler.refresh(100)
    p = sampler.probabilities()
    assert p[0] < p[1] == p[2]


def test_low_first_puts_what_was_never_drawn_with_the_lowest():
    sampler = make_sampler("priority", returns_store([1, 1, 1], [2, 2, 2]), order="low")
    sampler.feedback(fixed_anchors([0, 1]), np.array([1.0, 5.0]))
    sampler.refresh(100)
    p = sampler.probabilities()
    assert p[0] == p[2] > p[1]


def test_eviction_leaves_the_evidence_of_others_where_it_was():
    store = returns_store([1, 1, 1, 1], [2, 2, 2, 2])
    sampler = make_sampler("priority", store)
    sampler.feedback(fixed_anchors([0, 1, 2, 3]), np.array([4.0, 3.0, 2.0, 1.0]))
    store.evict([0])
    new = store.append(episode(2))
    sampler.feedback(fixed_anchors([0, new]), np.array([100.0, 2.5]))  # drawn before the refresh
    sampler.refresh(1)
    p = sampler.probabilities()
    assert p[0] == 0
    np.testing.assert_allclose(p[[1, new, 2, 3]], rank_law(np.array([3, 2.5, 2, 1])))


def test_ranks_are_renewed_every_refresh_and_not_between():
    sampler = make_sampler("priority", population(), refresh_every=10)
    sampler.feedback(fixed_anchors([0, 1]), np.array([0.0, 1.0]))
    before = sampler.probabilities()
    sampler.refresh(9)
    np.testing.assert_array_equal(sampler.probabilities(), before)
    sampler.refresh(10)
    assert sampler.probabilities()[0] < before[0]


def test_td_errors_that_are_not_numbers_are_left_out_and_noted():
    sampler = make_sampler("priority", population())
    sampler.feedback(fixed_anchors([0, 1]), np.array([np.inf, 2.0]))
    assert sampler.evidence.seen.tolist()[:2] == [False, True]
    assert len(sampler.notes) == 1


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_rows_that_were_not_used_say_nothing(aggregate):
    sampler = make_sampler("priority", returns_store([1, 1, 1], [8, 8, 8]), aggregate=aggregate)
    sampler.feedback(fixed_anchors([0, 0, 0, 1]), np.array([2.0, np.nan, np.nan, np.nan]))
    assert sampler.evidence.value.tolist() == [2, 0, 0]
    assert sampler.evidence.seen.tolist() == [True, False, False]
    assert not sampler.notes


def test_episodes_too_short_to_be_used_are_neither_first_nor_last():
    sampler = make_sampler("priority", returns_store([1, 1, 1, 1, 1], [2, 8, 8, 8, 8]))
    for _ in range(3):
        sampler.feedback(fixed_anchors([0, 1, 2, 3]), np.array([np.nan, 1.0, 3.0, 5.0]))
    sampler.refresh(100)
    p = sampler.probabilities()
    assert p[3] == p[4] > p[0] == p[2] > p[1]  # 4 was never drawn: with the largest
    sampler.feedback(fixed_anchors([0]), np.array([9.0]))
    sampler.refresh(200)
    assert sampler.probabilities().argmax() in (0, 4)


def test_success_binary_refuses_episodes_that_do_not_say():
    store = population()
    store.append(episode(3))
    with pytest.raises(ValueError, match=r"1 of 25 do not say .first: 24."):
        make_sampler("priority", store, metric="success_binary")


def test_importance_weights_of_beta_one_undo_the_law():
    store = population()
    sampler = make_sampler("priority", store, metric="return", beta=1.0)
    p, length = sampler.probabilities(), store.table.length
    drawn = [sampler.sample(stream(0, "sampler", i), 250) for i in range(100)]
    weight = np.zeros(len(store))
    np.add.at(weight, np.concatenate([a.episode for a in drawn]), np.concatenate([a.weight for a in drawn]))
    np.testing.assert_allclose(weight / weight.sum(), length / length.sum(), atol=0.01)
    w = importance(p, length / length.sum(), 1.0)
    assert p @ w == pytest.approx(1)
    np.testing.assert_allclose(w, length / length.sum() / p)


@given(SCORES, st.floats(0, 1))
def test_importance_weights_have_mean_one_under_the_law(scores, beta):
    p = rank_law(scores)
    q = np.arange(1, len(p) + 1) / np.arange(1, len(p) + 1).sum()
    assert p @ importance(p, q, beta) == pytest.approx(1)


def test_weights_of_a_cursor_count_that_long_episodes_give_more_anchors():
    store = population()
    sampler = make_sampler("priority", store, metric="return", beta=1.0, start="backward_cursor")
    p, length = sampler.probabilities(), store.table.length
    anchors = sampler.sample(stream(0, "sampler"), 64)
    drawn = p * length / (p @ length)  # share of anchors in the long run: one per step of what is drawn
    np.testing.assert_allclose(anchors.weight, (length / length.sum() / drawn)[anchors.episode], rtol=1e-5)


def test_beta_is_annealed_at_each_ranking():
    store = population()
    sampler = make_sampler(
        "priority", store, metric="return", beta=0.0, beta_end=1.0, beta_steps=20, refresh_every=10
    )
    for step, beta in ((0, 0.0), (9, 0.0), (10, 0.5), (19, 0.5), (20, 1.0), (40, 1.0)):
        sampler.refresh(step)
        anchors = sampler.sample(stream(0, "sampler", step), 8)
        w = importance(sampler.probabilities(), store.table.length / store.num_steps, beta)
        np.testing.assert_allclose(anchors.weight, w[anchors.episode], rtol=1e-5)


def test_start_last_with_a_window_of_one_is_the_last_step():
    store = population()
    anchors = make_sampler("priority", store, start="last", window=1).sample(stream(0, "sampler"), 64)
    np.testing.assert_array_equal(anchors.step, store.table.length[anchors.episode] - 1)


@pytest.mark.parametrize("options", [("priority", "start"), ("cluster*priority", "priority.start")])
def test_start_last_without_a_window_asks_for_it(options):
    name, key = options
    with pytest.raises(ValueError, match=r"give window=agent\.spec\.n$"):
        make_sampler(name, population(), **{key.replace("priority.", "right."): "last"})


def test_start_last_with_the_window_of_the_agent_trains_every_row():
    store, agent = population(), make_agent("acfql", 3, 2, partial_chunks="drop", chunk=2, width=8)
    anchors = make_sampler("priority", store, start="last", window=agent.spec.n).sample(
        stream(0, "sampler"), 64
    )
    update = agent.update(gather(store, anchors, agent.spec), torch_stream(0, "agent"))
    assert float(update.metrics["critic/loss"]) > 0
    assert not update.td_error.isnan().any()


@pytest.mark.parametrize("name", ["priority", "weighted", "top"])
def test_a_store_that_is_relabelled_gives_a_law_of_its_new_rewards(name):
    store = returns_store([1, 2, 3, 4], [4, 4, 4, 4])
    sampler = make_sampler(name, store, **({"metric": "return"} if name == "priority" else {}))
    assert sampler.probabilities().argmax() == 3
    store.relabel(np.repeat([4, 3, 2, 1], 4).astype(np.float32), np.zeros(16, bool))
    sampler.refresh(1)
    assert sampler.probabilities().argmax() == 0


def test_no_power_of_ranks_is_too_large():
    scores = np.array([3.0, 3.0, 1.0, 0.0])
    assert rank_law(scores, alpha=5000.0, floor=0.0).tolist() == [0.5, 0.5, 0.0, 0.0]


def test_start_last_is_where_the_last_full_window_starts():
    store = returns_store([1, 1, 1], [2, 5, 9])
    anchors = make_sampler("priority", store, start="last", window=5).sample(stream(0, "sampler"), 64)
    assert set(zip(anchors.episode.tolist(), anchors.step.tolist())) == {(0, 0), (1, 0), (2, 4)}


def test_the_window_of_the_agent_is_filled_in_where_none_was_given():
    spec = WindowSpec(chunk=5, horizon=3)
    assert with_window(SAMPLERS, "priority", {"start": "last"}, spec) == {"start": "last", "window": 5}
    assert with_window(SAMPLERS, "priority", {"window": 2}, spec) == {"window": 2}
    assert with_window(SAMPLERS, "cluster*priority", {}, spec) == {"right.window": 5}
    assert with_window(SAMPLERS, "uniform", {}, spec) == {}


def test_a_backward_cursor_walks_each_episode_from_its_last_step_to_its_first():
    store = population()
    sampler = make_sampler("priority", store, start="backward_cursor")
    drawn = [sampler.sample(stream(0, "sampler", i), 4) for i in range(30)]
    for before, after in pairwise(drawn):
        goes_on = before.step > 0
        np.testing.assert_array_equal(after.episode[goes_on], before.episode[goes_on])
        np.testing.assert_array_equal(after.step[goes_on], before.step[goes_on] - 1)
        fresh = ~goes_on
        np.testing.assert_array_equal(after.step[fresh], store.table.length[after.episode[fresh]] - 1)


def test_a_cursor_leaves_an_evicted_episode():
    store = population()
    sampler = make_sampler("priority", store, start="backward_cursor")
    first = sampler.sample(stream(0, "sampler"), 4)
    store.evict(first.episode)
    sampler.refresh(1)
    assert not np.isin(sampler.sample(stream(0, "sampler", 1), 4).episode, first.episode).any()


def test_q_uncertainty_ranks_by_the_spread_of_the_critics():
    store = population()
    sampler = make_sampler("priority", store, metric="q_uncertainty")
    np.testing.assert_allclose(sampler.probabilities(), 1 / len(store))  # nobody was asked yet
    sampler.refresh(1, score)
    np.testing.assert_allclose(sampler.probabilities(), rank_law(np.arange(len(store), dtype=float)))


def test_q_uncertainty_asks_about_some_trajectories_at_a_time_in_turn():
    store = population()
    sampler = make_sampler("priority", store, metric="q_uncertainty", score_episodes=10, refresh_every=5)
    for step, seen in ((1, 10), (5, 20), (10, 24)):
        sampler.refresh(step, score)
        assert sampler.evidence.seen.sum() == seen


def test_q_uncertainty_needs_two_critics():
    sampler = make_sampler("priority", population(), metric="q_uncertainty")
    with pytest.raises(ValueError, match="at least 2 critics"):
        sampler.refresh(1, lambda anchors: anchors.step.astype(float))


def test_an_agent_that_cannot_be_asked_is_noted():
    sampler = make_sampler("priority", population(), metric="q_uncertainty", refresh_every=1)
    sampler.refresh(1)
    assert "no agent to ask" in sampler.notes[0]


def _with_rewards(rewards: np.ndarray, success: bool):
    from trajrl.store.episode import Episode

    length = len(rewards)
    return Episode(np.zeros((length + 1, 1)), np.zeros((length, 1)), rewards, False, success)


def test_staleness_counts_from_the_step_at_which_a_priority_was_set():
    store = population(6)
    sampler = make_sampler("priority", store, refresh_every=1)
    assert "staleness_mean" not in sampler.stats()  # nothing was learned from yet
    for step, drawn in ((1, [0, 1]), (4, [1, 2]), (5, [5])):
        sampler.refresh(step)
        errors = np.ones(len(drawn))
        errors[-1] = np.nan if step == 5 else 1.0
        sampler.feedback(fixed_anchors(drawn), errors)
    sampler.refresh(10)
    stats = sampler.stats()
    assert (stats["staleness_mean"], stats["staleness_max"]) == ((9 + 6 + 6) / 3, 9)
    assert stats["seen"] == 3 / 6


def test_a_state_that_does_not_say_when_priorities_were_set_is_taken():
    store = population(6)
    sampler = make_sampler("priority", store)
    sampler.feedback(fixed_anchors([0, 1]), np.ones(2))
    state = sampler.state_dict()
    del state["set_at"]
    other = make_sampler("priority", store)
    other.load_state_dict(state)
    assert "staleness_mean" not in other.stats()
    assert other.stats()["seen"] == 2 / 6
