"""What every suite promises, run over one environment of each that is installed."""

from __future__ import annotations

from importlib.util import find_spec

import gymnasium
import numpy as np
import pytest
import torch

from trajrl import make_suite
from trajrl.core.rng import stream

SUITES = [
    "Hopper-v4", "HalfCheetah-v5", "Pendulum-v1", "d4rl:ant-medium-v2", "d4rl:walker2d-expert-v2",
    "sample_envs:line", "toy:point", "toy:rooms",
]  # fmt: skip
OGBENCH = ["ogbench:cube-single-play-singletask-v0", "ogbench:pointmaze-medium-navigate-singletask-v0"]
ogbench = pytest.mark.skipif(find_spec("ogbench") is None, reason="the extra 'ogbench' is not installed")


@pytest.fixture(scope="module", params=[*SUITES, *(pytest.param(name, marks=ogbench) for name in OGBENCH)])
def suite(request):
    return make_suite(request.param)


def play(env, seed, actions):
    """Return observations and rewards of an episode with fixed actions."""
    obs, _ = env.reset(seed=seed)
    seen, rewards = [obs], []
    for action in actions:
        obs, reward, terminated, truncated, _ = env.step(action)
        seen.append(obs)
        rewards.append(reward)
        if terminated or truncated:
            break
    return np.stack(seen), rewards


def random_actions(suite, count=20):
    return stream(0, "test").uniform(-1, 1, (count, suite.action_dim)).astype(np.float32)


def test_spaces_are_flat_and_scaled(suite):
    env = suite.make(0)
    assert isinstance(env, gymnasium.Env)
    assert env.observation_space.shape == (suite.obs_dim,)
    assert (env.action_space.low == -1).all()
    assert (env.action_space.high == 1).all()
    assert env.action_space.shape == (suite.action_dim,)


def test_observations_are_float32_and_nobody_elses(suite):
    env = suite.make(0)
    first, _ = env.reset(seed=1)
    kept = first.copy()
    second, reward, terminated, truncated, _ = env.step(random_actions(suite)[0])
    assert first.dtype == second.dtype == np.float32
    np.testing.assert_array_equal(first, kept)
    assert [type(value) for value in (reward, terminated, truncated)] == [float, bool, bool]


def test_a_seed_and_actions_are_an_episode(suite):
    actions = random_actions(suite)
    one, other = suite.make(0), suite.make(0)
    obs, rewards = play(one, 7, actions)
    play(one, 8, actions)  # what came before must not matter
    again, rewards_again = play(other, 7, actions)
    np.testing.assert_array_equal(obs, again)
    assert rewards == rewards_again
    obs, _ = play(one, 7, actions)
    np.testing.assert_array_equal(obs, again)


def test_neighbours_do_not_disturb_each_other(suite):
    actions = random_actions(suite, 5)
    one, other = suite.make(0), suite.make(0)
    alone, _ = play(one, 7, actions)
    obs, _ = one.reset(seed=7)
    other.reset(seed=8)
    beside = [obs]
    for action in actions[: len(alone) - 1]:
        beside.append(one.step(action)[0])
        other.step(-action)
    np.testing.assert_array_equal(alone, np.stack(beside))


def test_another_seed_is_another_episode(suite):
    starts = {suite.make(0).reset(seed=seed)[0].tobytes() for seed in range(3)}
    assert len(starts) == 3


def test_a_score_has_a_name(suite):
    value, name = suite.score(10.0)
    assert name
    assert value is None or name != "none"


def test_rewards_are_shaped_by_what_was_asked_and_no_more(suite):
    rewards = torch.tensor([-1.0, 0.0, 2.0])
    assert torch.equal(suite.shape_reward(rewards), rewards)


def test_the_name_makes_it_again(suite):
    again = make_suite(suite.name)
    assert (again.name, again.obs_dim, again.action_dim) == (suite.name, suite.obs_dim, suite.action_dim)
