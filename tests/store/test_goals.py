"""The law of goals: shares and distances against formulas, windows against a walk along the episode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trajrl import Anchors, Episode, TrajectoryStore, WindowSpec, gather
from trajrl.core.rng import stream
from trajrl.store.goals import FAR, GoalLaw, Goals, cost
from trajrl.store.hindsight import draw_goals
from trajrl.store.normalize import seen_statistics, statistics
from trajrl.store.return_to_go import known_returns

LENGTHS = (7, 3, 12)


LAW = GoalLaw()


def counting_store(law: GoalLaw | None = LAW) -> TrajectoryStore:
    """Observation (e, t) and its square, rewards and marks that must not be seen."""
    store = TrajectoryStore.of(
        Episode(
            np.array([(e, t) for t in range(length + 1)], np.float32),
            np.full((length, 1), 0.1 * e, np.float32), np.full(length, 99.0, np.float32), False,
            extras={"terminal": np.arange(length) == 1},
        )
        for e, length in enumerate(LENGTHS)
    )  # fmt: skip
    if law:
        store.set_goals(law)
    return store


def every_step() -> Anchors:
    episode = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    step = np.concatenate([np.arange(length) for length in LENGTHS])
    return Anchors(episode, step, np.ones(len(step), np.float32))


def anchors_at(e: int, t: int, count: int) -> Anchors:
    return Anchors(np.full(count, e), np.full(count, t), np.ones(count, np.float32))


def walked(e: int, t: int, goal: tuple[int, int], n: int, gamma: float) -> tuple[float, float]:
    """Walk from (e, t) a step at a time: the rewards' sum and the bootstrap's factor."""
    total, factor = 0.0, 1.0
    for _ in range(n):
        if (e, t) == goal:
            return total, 0.0
        if t == LENGTHS[e]:
            break
        total, factor, t = total - factor, factor * gamma, t + 1
    return total, 0.0 if (e, t) == goal else factor


@pytest.mark.parametrize("spec", [
    WindowSpec(), WindowSpec(history=3, chunk=4), WindowSpec(chunk=2, horizon=5), WindowSpec(horizon=20),
])  # fmt: skip
def test_returns_and_bootstraps_are_those_of_a_walk_to_the_goal(spec):
    store, gamma = counting_store(), 0.9
    pairs = [
        (e, t, f, g) for e, t in zip(*every_step()[:2]) for f, m in enumerate(LENGTHS) for g in range(m + 1)
    ]
    episode, step, other, at = np.array(pairs).T
    batch = gather(
        store, Anchors(episode, step, np.ones(len(step), np.float32)), spec, goals=Goals(other, at)
    )
    discount = gamma ** np.arange(spec.n)
    returns = (batch.rewards * batch.mask).numpy() @ discount
    factor = np.where(batch.terminated, 0, gamma ** batch.steps.numpy())
    expected = np.array([walked(e, t, (f, g), spec.n, gamma) for e, t, f, g in pairs])
    np.testing.assert_allclose(np.stack([returns, factor], 1), expected, rtol=1e-6)
    assert batch.rewards.min() == -1
    assert batch.rewards.max() == 0


def test_a_goal_lies_beside_every_real_observation_of_a_history():
    batch = gather(counting_store(), anchors_at(2, 1, 1), WindowSpec(history=3, chunk=2), goals=Goals(
        np.array([1]), np.array([3])
    ))  # fmt: skip
    assert batch.obs[0].tolist() == [[0, 0, 0, 0], [2, 0, 1, 3], [2, 1, 1, 3]]
    assert batch.next_obs[0].tolist() == [[2, 1, 1, 3], [2, 2, 1, 3], [2, 3, 1, 3]]
    assert batch.history_mask[0].tolist() == [False, True, True]


def test_a_goal_inside_the_chunk_leaves_the_actions_and_the_steps():
    batch = gather(
        counting_store(), anchors_at(2, 1, 1), WindowSpec(chunk=4), goals=Goals(*np.array([[2], [3]]))
    )
    assert batch.rewards[0].tolist() == [-1, -1, 0, 0]
    assert batch.mask.all()
    assert batch.action_mask.all()
    assert (int(batch.steps), bool(batch.terminated)) == (4, True)


def test_a_window_without_a_drawn_goal_has_its_episodes_last_observation():
    store, anchors, spec = counting_store(), every_step(), WindowSpec(history=2, chunk=3, return_gamma=0.9)
    ends = Goals(anchors.episode, np.array(LENGTHS)[anchors.episode])
    plain, drawn = gather(store, anchors, spec), gather(store, anchors, spec, goals=ends)
    for name, found, expected in zip(plain._fields, plain, drawn):
        if expected is not None:
            np.testing.assert_array_equal(found, expected, err_msg=name)
    found, steps, known = known_returns(store, anchors.episode, anchors.step, 0.9)
    np.testing.assert_allclose(found, plain.returns, rtol=1e-6)
    assert known.all()
    assert (steps == ends.step - anchors.step).all()
    assert store.table.returns.tolist() == [-length for length in LENGTHS]


@pytest.mark.parametrize("gamma", [0.0, 0.7, 1.0])
def test_returns_to_go_end_at_the_goal_or_where_the_recording_was_cut(gamma):
    spec = WindowSpec(history=2, return_gamma=gamma)
    for goal, m, met in (((2, 5), 3, True), ((2, 2), 0, True), ((2, 1), 10, False), ((0, 4), 10, False)):
        batch = gather(counting_store(), anchors_at(2, 2, 1), spec, goals=Goals(*np.array(goal)[:, None]))
        assert float(batch.returns) == pytest.approx(-sum(gamma**i for i in range(m)))
        assert float(batch.end_discount) == pytest.approx(0 if met else gamma**m)
        if not met:
            assert batch.end_obs[0, -1].tolist() == [2, 12, *goal]


def test_cost_is_a_geometric_sum():
    assert cost(np.array([0, 1, 3]), 0.5).tolist() == [0, -1, -1.75]
    assert cost(np.array([0, 1, 3]), 1.0).tolist() == [0, -1, -3]


def test_goals_of_the_values_are_shared_as_the_law_says():
    law = GoalLaw(values_here=0.2, values_ahead=0.5, values_mean=3.0)
    store, count = counting_store(law), 200_000
    goals = draw_goals(store, anchors_at(2, 4, count), "values", stream(0, "goal", 1))
    mass = np.zeros((3, 13))
    np.add.at(mass, (goals.episode, goals.step), 1 / count)
    expected = np.zeros((3, 13))
    for e, length in enumerate(LENGTHS):
        expected[e, :length] = 0.3 / sum(LENGTHS)  # any step that was acted in
    expected[2, 4] += 0.2
    ahead = (1 / 3) * (2 / 3) ** np.arange(8)  # 1 .. 8 steps on; the last takes what is beyond
    ahead[-1] = (2 / 3) ** 7
    expected[2, 5:13] += 0.5 * ahead
    assert np.abs(mass - expected).max() < 5 * np.sqrt(0.25 / count)
    assert (expected > 0).sum() == (mass > 0).sum()


def test_goals_of_the_policy_are_any_step_ahead():
    store = counting_store()
    goals = draw_goals(store, anchors_at(0, 3, 80_000), "policy", stream(0, "policy_goal", 1))
    assert set(goals.episode) == {0}
    share = np.bincount(goals.step, minlength=8) / 80_000
    np.testing.assert_allclose(share, [0, 0, 0, 0, 0.25, 0.25, 0.25, 0.25], atol=0.01)


def test_the_last_step_has_its_end_ahead_and_evicted_episodes_are_no_goals():
    store = counting_store(GoalLaw(policy_ahead=0.5))
    store.evict([1])
    goals = draw_goals(store, anchors_at(0, 6, 5_000), "policy", stream(0, "policy_goal", 1))
    assert set(goals.episode) == {0, 2}
    own = goals.step[goals.episode == 0]
    assert own.max() == 7
    assert (own == 7).mean() > 0.5


def test_goals_that_are_not_ahead_are_far():
    goals = Goals(np.array([0, 0, 0, 1]), np.array([5, 4, 3, 5]))
    assert goals.steps_to(np.zeros(4, int), np.full(4, 4)).tolist() == [1, 0, FAR, FAR]


@pytest.mark.parametrize(("change", "words"), [
    ({"values_here": 0.7}, r"goals\.values_here and goals\.values_ahead are shares of one; got 0\.7 and"),
    ({"policy_ahead": -0.1}, r"goals\.policy_here and goals\.policy_ahead are shares"),
    ({"values_mean": 0.5}, r"goals\.values_mean is 1 step or more, or 0: any step ahead; got 0\.5"),
    ({"policy_mean": float("nan")}, r"goals\.policy_mean is 1 step"),
])  # fmt: skip
def test_shares_that_are_none_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(GoalLaw(), **change)


def test_a_goal_has_the_scale_of_a_state():
    store, bare = counting_store(), counting_store(None)
    assert (store.obs_dim, store.seen_dim, bare.seen_dim) == (2, 4, 2)
    found = seen_statistics(store)
    assert found["obs_mean"].tolist() == [*statistics(bare)["obs_mean"]] * 2
    assert found["action_mean"].shape == (1,)


def test_a_view_without_goals_keeps_its_own_rewards():
    store = counting_store(None)
    other = store.view()
    other.set_goals(GoalLaw())
    batch = gather(store, every_step(), WindowSpec(horizon=2))
    assert batch.rewards.max() == 99
    assert batch.obs.shape[-1] == 2
    assert int(batch.terminated.sum()) > 0  # by its marks
