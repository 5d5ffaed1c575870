"""The toy environments keep their promises: success rates, walls, a stroller that meets goals by chance."""

from __future__ import annotations

import numpy as np
import pytest

from trajrl import make_suite
from trajrl.envs.toy import Point, Rooms
from trajrl.rollout.evaluate import evaluate
from trajrl.rollout.policies import RandomPolicy


@pytest.fixture(scope="module")
def shown():
    return list(make_suite("toy:rooms").episodes())


def test_random_actions_hardly_ever_reach_a_goal():
    rows = evaluate(RandomPolicy(2), make_suite("toy:rooms"), 0, 0, 200)
    assert np.mean([row["success"] for row in rows]) < 0.01


def test_the_stroller_meets_every_goal_now_and_then_whatever_is_asked(shown):
    success = np.array([episode.success for episode in shown])
    asked = np.stack([episode.obs[0, 2:] for episode in shown])
    assert 0.1 < success.mean() < 0.25
    for goal in np.array(Rooms.goals, np.float32):
        here = (asked == goal).all(1)
        assert 50 < here.sum() < 100
        assert 0.05 < success[here].mean() < 0.4


def test_the_horizon_is_fifty_and_reward_is_success(shown):
    assert Rooms.horizon == 50
    assert max(len(episode) for episode in shown) == 50
    for episode in shown:
        assert episode.rewards.sum() == episode.success == episode.terminated
        assert episode.terminated or len(episode) == 50


def test_the_data_is_always_the_same(shown):
    again = next(iter(make_suite("toy:rooms").episodes()))
    np.testing.assert_array_equal(again.obs, shown[0].obs)
    assert len({episode.obs.tobytes() for episode in shown}) == 300


def test_a_wall_stops_only_what_runs_into_it():
    env = Rooms()
    env.reset(seed=0)
    env._x, env._y = -0.04, 0.5
    obs, *_ = env.step(np.array([1.0, 1.0]))
    assert obs[:2].tolist() == pytest.approx([-0.04, 0.58])
    env._x, env._y = -0.04, 0.0
    obs, *_ = env.step(np.array([1.0, 0.0]))
    assert obs[0] == pytest.approx(0.04)


def test_a_point_that_leaves_the_field_ends():
    env = make_suite("toy:point").make(0)
    env.reset(seed=0)
    terminated = truncated = False
    while not (terminated or truncated):
        obs, _, terminated, truncated, _ = env.step(np.ones(2, np.float32))
    assert terminated
    assert np.abs(obs[:2]).max() > 1


def test_a_point_that_rests_is_truncated():
    env = make_suite("toy:point").make(0)
    for _ in range(Point.horizon):
        _, _, terminated, truncated, _ = env.step(np.zeros(2, np.float32))
    assert (terminated, truncated) == (False, True)


def test_scores_of_toys():
    assert make_suite("toy:rooms").score(1.0).value == 100
    assert make_suite("toy:point").score(0.0).value == 100
