"""robomimic's environments as its published demonstrations saw them: numbers, control, reward, end."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from trajrl import make_suite
from trajrl.envs.robomimic import RobomimicSuite
from trajrl.envs.robomimic_vector import objects

SHARED = Path(os.environ.get("TRAJRL_SHARED", Path(__file__).parents[2] / "../shared"))
DEMOS = SHARED / "data" / "robomimic" / "lift_low_dim.hdf5"
KEYS = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos", "object")
WIDTHS = {
    "Lift": (19, 7, 300), "NutAssemblySquare": (23, 7, 400), "PickPlaceCan": (23, 7, 300),
    "ToolHang": (53, 7, 1000), "TwoArmTransport": (59, 14, 800),
}  # fmt: skip
needs_robosuite = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("robosuite") is None, reason="robosuite is not installed: make robomimic"),
]


def robosuite(test):
    for mark in needs_robosuite:
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def lift():
    return make_suite("robomimic:Lift")


def place(env, state):
    """Put the simulation into a recorded state and return what is seen there."""
    task = env.unwrapped
    task.raw.sim.set_state_from_flattened(state)
    task.raw.sim.forward()
    return task._see()


@robosuite
@pytest.mark.skipif(not DEMOS.exists(), reason="the demonstrations are not here")
@pytest.mark.parametrize("demo", ["demo_0", "demo_1"])
def test_recorded_states_are_seen_as_they_were_recorded(lift, demo):
    env = lift.make(0)
    with h5py.File(DEMOS) as file:
        recorded = file["data"][demo]
        states = recorded["states"][()]
        seen = np.concatenate([recorded["obs"][key][()] for key in KEYS], 1)
    for t in range(0, len(states), 7):
        np.testing.assert_allclose(place(env, states[t]), seen[t], atol=1e-5)


@robosuite
@pytest.mark.skipif(not DEMOS.exists(), reason="the demonstrations are not here")
@pytest.mark.parametrize("demo", ["demo_0", "demo_1"])
def test_recorded_actions_lift_the_cube(lift, demo):
    env = lift.make(0)
    with h5py.File(DEMOS) as file:
        state, actions = file["data"][demo]["states"][0], file["data"][demo]["actions"][()]
        hand = file["data"][demo]["next_obs"]["robot0_eef_pos"][()]
    place(env, state)
    for t, action in enumerate(actions):
        obs, reward, terminated, _, info = env.step(action.astype(np.float32))
        assert np.abs(obs[:3] - hand[t]).max() < 0.02  # metres
        if terminated:
            break
    assert (reward, info["success"]) == (1.0, True)
    assert t >= len(actions) - 10


@robosuite
@pytest.mark.parametrize("name", WIDTHS)
def test_sizes_and_horizons_are_the_published_ones(name):
    suite = make_suite(f"robomimic:{name}")
    assert (suite.obs_dim, suite.action_dim, suite.options.time_limit) == WIDTHS[name]


@robosuite
def test_arms_without_grippers_are_seen_without_fingers():
    suite = make_suite("robomimic:TwoArmPegInHole")
    assert suite.action_dim == 12
    assert len(suite.make(0).reset(seed=0)[0]) == suite.obs_dim


@robosuite
def test_a_seed_settles_where_the_cube_lies(lift):
    one, other = lift.make(0), lift.make(5)
    first = one.reset(seed=3)[0]
    one.step(np.zeros(7, np.float32))
    again, elsewhere = one.reset(seed=3)[0], one.reset(seed=4)[0]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, other.reset(seed=3)[0])
    assert not np.array_equal(first, elsewhere)


@robosuite
def test_old_arguments_of_a_file_are_honoured():
    arguments = {
        "robots": ["Panda"], "control_freq": 10, "camera_depths": False, "has_renderer": True,
        "has_offscreen_renderer": True, "ignore_done": True, "use_object_obs": True, "use_camera_obs": False,
        "camera_heights": 84, "camera_widths": 84, "reward_shaping": False, "render_gpu_device_id": 0,
        "controller_configs": {"type": "OSC_POSE", "kp": 99, "damping": 1, "control_delta": True,
                               "input_max": 1, "input_min": -1, "output_max": [0.05] * 6,
                               "output_min": [-0.05] * 6, "uncouple_pos_ori": True},
    }  # fmt: skip
    raw = make_suite("robomimic:Lift", arguments=arguments).make(0).unwrapped.raw
    arm = raw.robots[0].part_controllers["right"]
    assert raw.control_freq == 10
    assert (arm.kp == 99).all()
    assert (arm.input_type, arm.input_ref_frame) == ("delta", "world")


@robosuite
def test_images_are_those_that_robomimic_would_have_written_of_the_same_state():
    import robosuite

    shown = {
        "camera_names": ["agentview", "robot0_eye_in_hand"], "camera_heights": [48, 32],
        "camera_widths": [40, 32],
    }  # fmt: skip
    keys = [f"{name}_image" for name in shown["camera_names"]]
    suite = make_suite("robomimic:Lift", obs_keys=("state", *keys), arguments=shown)
    acted = suite.make(0)
    task = acted.unwrapped
    model = task.raw.sim.model.get_xml()  # rounded, so both read it
    task.raw.reset_from_xml_string(task.raw.edit_model_xml(model))
    seen = [acted.step(np.full(7, 0.3, np.float32))[0] for _ in range(3)][-1]
    state = task.raw.sim.get_state().flatten()
    written = robosuite.make("Lift", robots="Panda", use_camera_obs=True, has_renderer=False, **shown)
    written.reset()
    written.reset_from_xml_string(written.edit_model_xml(model))
    written.sim.reset()
    written.sim.set_state_from_flattened(state)
    written.sim.forward()
    due = written._get_observations(force_update=True)
    for key in keys:
        np.testing.assert_array_equal(seen[key], due[key][::-1])
    np.testing.assert_array_equal(seen["state"][:3], due["robot0_eef_pos"].astype(np.float32))
    assert [seen[key].shape for key in keys] == [(48, 40, 3), (32, 32, 3)]
    assert seen[keys[0]][:8].mean() < seen[keys[0]][-8:].mean()  # a dark wall above, a white table below


@robosuite
def test_an_unknown_task_is_told_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'Lift'"):
        make_suite("robomimic:Lft")


@robosuite
@pytest.mark.parametrize(("name", "value"), [("robots", "Panbda"), ("control_freq", 0), ("horizn", 3)])
def test_a_wrong_argument_is_named_with_its_task(name, value):
    with pytest.raises(ValueError, match=f"robomimic:Lift cannot be made with the arguments {name}: "):
        make_suite("robomimic:Lift", arguments={name: value})


def test_arguments_come_from_the_file_where_it_has_them():
    inside = {"env_name": "Lift", "env_kwargs": {"control_freq": 10}}
    attributes = {"provenance": {"versions": {"env_args": inside}}}
    assert RobomimicSuite.recorded_with(attributes) == {"arguments": {"control_freq": 10}}
    assert RobomimicSuite.recorded_with({"environment": "robomimic:Lift"}) == {}


def test_every_unsolved_step_costs_one():
    assert RobomimicSuite.published("Lift") == {"time_limit": 300, "reward_shift": -1.0}
    limits = {name: RobomimicSuite.published(name)["time_limit"] for name in WIDTHS}
    assert limits == {name: steps for name, (_, _, steps) in WIDTHS.items()}


def test_a_missing_robosuite_names_its_target(monkeypatch):
    monkeypatch.setattr("trajrl.envs.robomimic.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="make robomimic"):
        make_suite("robomimic:Lift")


def test_the_cube_is_seen_from_the_hand_with_the_published_sign():
    seen = {
        "robot0_eef_pos": np.array([1.0, 2, 3]), "cube_pos": np.array([0.0, 0, 1]),
        "cube_quat": np.array([0.0, 0, 0, 1]), "gripper_to_cube_pos": np.array([-1.0, -2, -2]),
    }  # fmt: skip
    found = objects(seen, ["cube_pos", "cube_quat", "gripper_to_cube_pos"])
    assert found.tolist() == [0, 0, 1, 0, 0, 0, 1, 1, 2, 2]


def test_rewards_are_shifted_for_learning_only_there():
    suite = object.__new__(RobomimicSuite)
    suite.options = type("Options", (), {"reward_shift": -1.0})()
    assert torch.equal(suite.shape_reward(torch.tensor([0.0, 1.0])), torch.tensor([-1.0, 0.0]))
