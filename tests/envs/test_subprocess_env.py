"""Environments in processes of their own: the same episodes, and failures that stay where they are."""

from __future__ import annotations

import multiprocessing
import os
import signal

import numpy as np
import pytest
from actors import Counting

from trajrl import make_suite
from trajrl.rollout.collector import Collector, Streams, in_order


def test_a_process_of_its_own_changes_no_episode():
    actions = np.linspace(-1, 1, 20, dtype=np.float32)[:, None].repeat(2, 1)
    found = []
    for env_timeout in (0.0, 30.0):
        env = make_suite("toy:rooms", env_timeout=env_timeout).make(0)
        found.append([env.reset(seed=4)[0], *(env.step(action)[0] for action in actions)])
        env.close()
    np.testing.assert_array_equal(*found)


def test_one_that_hangs_or_dies_is_replaced_and_its_episode_marked():
    suite = make_suite("sample_envs:hanging", env_timeout=0.5)
    collector = Collector(suite, Counting(1), Streams(3), 2, num_episodes=5)
    found = list(in_order(collector))
    collector.close()
    kinds = {finished.seed % 97 % 3: finished for finished in found}
    assert set(kinds) == {0, 1, 2}
    assert "did not answer within 0.5 seconds" in kinds[0].failure.reason
    assert "ended by itself (exit code 7)" in kinds[1].failure.reason
    assert kinds[2].failure is None
    assert [len(kinds[kind].episode) for kind in (0, 1)] == [1, 1]
    assert not multiprocessing.active_children()


def test_an_error_in_the_process_is_told_with_its_name():
    env = make_suite("sample_envs:breaking", env_timeout=30).make(0)
    env.reset(seed=3)
    env.step(np.zeros(1, np.float32))
    with pytest.raises(RuntimeError, match="RuntimeError: the arm is stuck"):
        env.step(np.zeros(1, np.float32))
    env.close()


def test_one_that_draws_no_frames_gives_none():
    from trajrl.report.draw.video import frame_of

    env = make_suite("toy:point", env_timeout=30).make(0)
    env.reset(seed=3)
    assert env.render() is None
    with pytest.raises(ValueError, match="toy:point gives no frames"):
        frame_of(env, "toy:point")
    env.close()


def test_an_env_timeout_is_not_negative():
    with pytest.raises(ValueError, match="number of seconds"):
        make_suite("toy:rooms", env_timeout=-1)


def test_ctrl_c_is_answered_by_the_parent_alone():
    env = make_suite("toy:rooms", env_timeout=30).make(0)
    env.reset(seed=1)
    os.kill(env._process.pid, signal.SIGINT)
    obs, *_ = env.step(np.zeros(2, np.float32))
    assert np.isfinite(obs).all()
    assert env._process.is_alive()
    env.close()
