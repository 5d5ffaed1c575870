"""What is done to any environment: scaling, refusing, limits, skipping frames, hiding velocities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sample_envs import Line

from trajrl import make_suite
from trajrl.envs.base.wrappers import EnvOptions, wrap


def wrapped(env, **options):
    env = wrap(env, EnvOptions(**options), "a test")
    env.reset(seed=0)
    return env


@pytest.mark.parametrize(("action", "taken"), [(-1, -2), (0, 1), (1, 4), (0.5, 2.5)])
def test_actions_are_scaled_to_the_box(action, taken):
    env = wrapped(Line(low=-2, high=4))
    env.step(np.array([action], np.float32))
    assert env.unwrapped.taken == [pytest.approx(taken)]


def test_a_box_of_one_is_left_bit_for_bit():
    env = wrapped(Line(low=-1, high=1))
    action = np.array([0.1], np.float32)
    env.step(action)
    assert env.unwrapped.taken == [float(action[0])]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dict_obs", "Dict observations .desired_goal, observation."),
        (
            "image_obs",
            r"image observations of shape \(8, 8, 3\).*images are \(height, width, channels\) of bytes",
        ),
        ("discrete_obs", "Discrete observations"),
        ("discrete_action", r"Discrete\(2\) actions"),
        ("unbounded_action", "without bounds"),
    ],
)
def test_what_trajrl_cannot_act_in_is_refused_in_one_line(name, words):
    with pytest.raises(ValueError, match=words) as caught:
        make_suite(f"sample_envs:{name}")
    assert f"sample_envs:{name}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_time_limit_truncates():
    env = wrapped(Line(length=9), time_limit=2)
    ends = [env.step(np.zeros(1, np.float32))[2:4] for _ in range(2)]
    assert ends == [(False, False), (False, True)]


def test_skipped_frames_add_up_and_keep_the_success_within():
    env = wrapped(Line(length=7), frame_skip=3)
    steps = [env.step(np.zeros(1, np.float32)) for _ in range(3)]
    assert [reward for _, reward, *_ in steps] == [3, 3, 1]
    assert [bool(step[4]["success"]) for step in steps] == [True, False, False]  # at frame 2
    assert steps[-1][2]


def test_rewards_are_shifted_for_learning_only():
    suite = make_suite("sample_envs:line", reward_shift=-1.0)
    assert torch.equal(suite.shape_reward(torch.ones(2)), torch.zeros(2))
    assert suite.make(0).step(np.zeros(1, np.float32))[1] == 1


@pytest.mark.parametrize(
    ("name", "width"), [("Hopper-v4", 5), ("Hopper-v5", 5), ("HalfCheetah-v4", 8), ("Ant-v5", 13)]
)
def test_hidden_velocities_leave_the_positions(name, width):
    suite, whole = make_suite(name, observe="positions"), make_suite(name)
    assert suite.obs_dim == width
    seen, full = suite.make(0).reset(seed=3)[0], whole.make(0).reset(seed=3)[0]
    np.testing.assert_array_equal(seen, full[:width])
    raw = suite.make(0).unwrapped
    raw.reset(seed=3)
    np.testing.assert_allclose(seen, raw.data.qpos[-width:].astype(np.float32))


def test_positions_of_an_unknown_environment_are_not_guessed():
    with pytest.raises(ValueError, match="knows Gymnasium's MuJoCo environments only"):
        make_suite("Pendulum-v1", observe="positions")


@pytest.mark.parametrize(("action", "taken"), [(-3, -2), (0, 0), (3, 3), (9, 4)])
def test_clipped_actions_stay_in_the_units_of_the_box(action, taken):
    env = wrapped(Line(low=-2, high=4), actions="clip")
    env.step(np.array([action], np.float32))
    assert env.unwrapped.taken == [pytest.approx(taken)]


def test_arguments_reach_the_environments_own_constructor():
    suite = make_suite("Hopper-v5", arguments={"exclude_current_positions_from_observation": False})
    assert suite.obs_dim == make_suite("Hopper-v5").obs_dim + 1
    for maker in ("sized", "open_ended"):
        assert make_suite(f"sample_envs:{maker}", arguments={"length": 3}).make(0).unwrapped.length == 3


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("toy:point", {"speed": 2}, "takes no arguments of its own; got speed"),
        ("sample_envs:sized", {"lenth": 3}, "no argument 'lenth'; did you mean 'length'"),
        ("Hopper-v5", {"healthy": 3}, "cannot be made"),
    ],
)
def test_a_wrong_argument_is_reported(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        make_suite(name, arguments=arguments)


def test_an_observation_of_another_shape_than_declared_is_refused():
    with pytest.raises(ValueError, match=r"observation of shape \(2,\) and declares \(4,\)"):
        make_suite("sample_envs:misdeclared")
