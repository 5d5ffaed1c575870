"""robomimic files: one episode for each demonstration, whatever its dones, masks and attributes are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from foreign import at, hdf5, read, robomimic, shared

from trajrl.envs.robomimic import RobomimicSuite
from trajrl.formats import import_source, open_source
from trajrl.store.store import TrajectoryStore
from trajrl.training.config import RunConfig
from trajrl.training.data import open_data


@pytest.fixture
def path(tmp_path):
    return tmp_path / "low_dim.hdf5"


def test_demonstrations_come_in_order_of_their_number(path):
    hdf5(path, robomimic({"demo_10": 9, "demo_2": 5, "demo_7": 4}))
    episodes, source = read(path)
    assert [len(e) for e in episodes] == [5, 4, 9]
    assert source.count == 3


def test_dones_on_several_rows_mark_steps_of_one_successful_episode(path):
    hdf5(path, robomimic({"demo_0": 6}))
    episodes, source = read(path)
    assert len(episodes) == 1
    assert episodes[0].extras["terminal"].tolist() == [False] * 4 + [True] * 2
    assert (episodes[0].terminated, episodes[0].success) == (True, True)
    assert source.notes.counts["terminal_marks"] == 2


def test_a_failed_demonstration_is_truncated(path):
    hdf5(path, robomimic({"demo_0": 6}, success=False))
    episodes, _ = read(path)
    assert (episodes[0].terminated, episodes[0].success) == (False, False)
    assert not episodes[0].extras["terminal"].any()


def test_a_done_without_a_reward_of_one_is_the_end_of_a_recording(path):
    arrays = robomimic({"demo_0": 6}, success=False)
    hdf5(path, {**arrays, "data/demo_0/dones": at(6, 5).astype(int), "data/demo_0/rewards": np.full(6, 0.4)})
    episodes, source = read(path)
    assert (episodes[0].terminated, episodes[0].success) == (False, False)
    assert source.notes.counts["constant_dones"] == 1


def test_observations_are_concatenated_in_the_usual_order(path):
    arrays = robomimic({"demo_0": 6})
    hdf5(path, arrays)
    episodes, source = read(path)
    keys = ["robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos", "object"]
    side_by_side = np.concatenate([arrays[f"data/demo_0/obs/{key}"] for key in keys], axis=1)
    np.testing.assert_array_equal(episodes[0].obs[:-1], side_by_side.astype(np.float32))
    assert source.provenance["obs_keys"] == {keys[0]: 3, keys[1]: 4, keys[2]: 2, "object": 4}


def test_observation_keys_can_be_chosen(path):
    arrays = robomimic({"demo_0": 6})
    hdf5(path, arrays)
    episodes, _ = read(path, obs_keys=("object", "extra"))
    np.testing.assert_array_equal(
        episodes[0].obs[:-1, 4], arrays["data/demo_0/obs/extra"][:, 0].astype(np.float32)
    )
    with pytest.raises(ValueError, match=r"no observation 'nothing'; choose --obs-keys from .*object"):
        open_source(path, obs_keys=("nothing",))


def test_the_last_observation_is_the_last_next_observation(path):
    arrays = robomimic({"demo_0": 6})
    hdf5(path, arrays)
    episodes, _ = read(path, obs_keys=("object",))
    np.testing.assert_array_equal(
        episodes[0].obs[-1], arrays["data/demo_0/next_obs/object"][-1].astype(np.float32)
    )


def test_without_next_observations_a_truncated_end_gives_up_its_last_action(path):
    hdf5(
        path,
        robomimic({"demo_0": 6}, next_obs=False, success=False) | robomimic({"demo_1": 6}, next_obs=False),
    )
    episodes, source = read(path)
    assert [(len(e), e.terminated) for e in episodes] == [(5, False), (6, True)]
    assert source.notes.counts["dropped_steps"] == 1
    assert source.notes.counts["repeated_last_obs"] == 1


def test_a_single_step_without_an_observation_after_it_is_counted_as_lost(path):
    hdf5(path, robomimic({"demo_0": 1, "demo_1": 3}, next_obs=False, success=False))
    episodes, source = read(path)
    assert [len(e) for e in episodes] == [2]
    assert source.notes.counts["lost_episodes"] == 1


def test_masks_become_labels_and_absent_demonstrations_are_reported(path, tmp_path):
    arrays = robomimic({"demo_0": 4, "demo_3": 5})
    hdf5(
        path, {**arrays, "mask/train": np.array([b"demo_3", b"demo_9"]), "mask/valid": np.array([b"demo_0"])}
    )
    found = import_source(open_source(path), tmp_path / "x.h5")
    table = TrajectoryStore.open(tmp_path / "x.h5").table
    assert table.mask_train.tolist() == [False, True]
    assert table.mask_valid.tolist() == [True, False]
    assert found["counts"]["absent_demos"] == 1
    assert found["first"]["absent_demos"] == "mask 'train', demo_9"


def test_a_filter_keeps_the_demonstrations_it_names(path):
    arrays = robomimic({"demo_0": 4, "demo_3": 5})
    masks = {"mask/train": np.array([b"demo_3"]), "mask/none": np.array([b"demo_8"])}
    hdf5(path, {**arrays, **masks})
    assert [len(e) for e in read(path, filter="train")[0]] == [5]
    with pytest.raises(ValueError, match="'none' names no demonstration that the file holds"):
        open_source(path, filter="none")
    with pytest.raises(ValueError, match=r"has no mask 'trian'; it has none, train"):
        open_source(path, filter="trian")


def test_missing_attributes_are_counted_and_present_ones_are_used(path, tmp_path):
    arrays = robomimic({"demo_0": 4, "demo_1": 4})
    _, source = read(hdf5(path, arrays))
    assert source.notes.counts["missing_attributes"] == 4  # env_args, total, num_samples twice
    assert source.environment is None
    arguments = {"env_name": "Lift", "env_type": 1, "env_kwargs": {}}
    attributes = {"data@env_args": json.dumps(arguments), "data@total": 8, "data/demo_0@num_samples": 4}
    _, source = read(hdf5(tmp_path / "y.hdf5", arrays, attributes))
    assert source.environment == "robomimic:Lift"
    assert source.versions == {"env_args": arguments}
    assert source.notes.counts["missing_attributes"] == 1


def test_a_raw_recording_is_refused_with_what_to_do(path):
    hdf5(path, {"data/demo_1/states": np.zeros((4, 5)), "data/demo_1/actions": np.zeros((4, 7))})
    with pytest.raises(ValueError, match="raw recording; extract observations first"):
        open_source(path)


def test_images_of_another_layout_are_refused(path):
    arrays = robomimic({"demo_0": 4})
    hdf5(path, {**arrays, "data/demo_0/obs/agentview_image": np.zeros((4, 8, 8, 3), np.float32)})
    with pytest.raises(ValueError, match="of bytes"):
        read(path, obs_keys=("agentview_image",))
    assert len(read(path)[0]) == 1  # one that is not asked for disturbs nobody


def test_real_files_give_two_demonstrations_each():
    episodes, source = read(shared("robomimic/lift_low_dim.hdf5"))
    assert [(len(e), e.episode_return, e.success) for e in episodes] == [(59, 5.0, True), (58, 5.0, True)]
    assert source.notes.counts["absent_demos"] == 40 + 36 + 4 + 100 + 90 + 10 + 200 - 2
    assert source.notes.counts["terminal_marks"] == 10
    episodes, source = read(shared("robomimic/robomimic_test.hdf5"))
    assert [len(e) for e in episodes] == [58, 57]
    assert source.notes.counts["missing_attributes"] == 3


def test_training_from_the_file_itself_knows_what_it_was_recorded_under(path):
    arguments = {"env_name": "Lift", "env_kwargs": {"control_freq": 10}}
    hdf5(path, robomimic({"demo_0": 6}), {"data@env_args": json.dumps(arguments)})
    import_source(open_source(path), path.with_name("x.h5"))
    for file in (path, path.with_name("x.h5")):
        attributes = open_data(RunConfig(data=str(file))).attributes
        assert RobomimicSuite.recorded_with(attributes) == {"arguments": {"control_freq": 10}}
        assert set(attributes["action_low"]) == {-1.0}


def test_images_are_made_smaller_as_asked(path):
    frames = np.repeat(np.arange(4, dtype=np.uint8)[:, None, None, None], 8 * 6 * 3, 1).reshape(4, 8, 6, 3)
    images = {f"data/demo_0/{place}/agentview_image": frames for place in ("obs", "next_obs")}
    hdf5(path, {**robomimic({"demo_0": 4}), **images})
    episodes, _ = read(path, obs_keys=("agentview_image",), image_size=(4, 3))
    assert episodes[0].images["agentview_image"].shape == (5, 4, 3, 3)
    assert episodes[0].images["agentview_image"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 3]
