"""Minari data sets, read without the minari package; where it is installed, its own reader is the oracle."""

from __future__ import annotations

import json

import numpy as np
import pytest
from foreign import hdf5, minari, minari_set, read, shared, store_of

from trajrl import Episode
from trajrl.formats import export, open_source

BOX = {"type": "Box", "dtype": "float32", "shape": [2], "low": [-2.0, -2.0], "high": [2.0, 2.0]}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "name-space" / "hopper" / "medium-v0"


def test_episodes_come_in_order_of_their_number(folder):
    minari_set(folder, minari([3, 1, 4, 2, 5, 6, 7, 8, 9, 10, 11]))
    episodes, source = read(folder)
    assert [len(e) for e in episodes] == [3, 1, 4, 2, 5, 6, 7, 8, 9, 10, 11]
    assert source.count == 11


def test_ends_are_read_from_the_last_flag(folder):
    arrays = minari([3], terminated=True) | {k.replace("_0", "_1"): v for k, v in minari([3], False).items()}
    episodes, source = read(minari_set(folder, arrays))
    assert [e.terminated for e in episodes] == [True, False]
    assert set(source.notes.counts) == {"cast_columns"}


def test_a_flag_before_the_last_step_is_reported(folder):
    arrays = minari([4])
    arrays["episode_0/truncations"] = np.array([0, 1, 0, 0], bool)
    _, source = read(minari_set(folder, arrays))
    assert source.notes.counts["flags_before_the_end"] == 1
    assert source.notes.first["flags_before_the_end"] == "episode_0, step 1"


def test_one_observation_for_each_action_is_an_error(folder):
    arrays = minari([4])
    arrays["episode_0/observations"] = arrays["episode_0/observations"][:-1]
    with pytest.raises(ValueError, match="'episode_0' has 4 observations, 4 actions; 5 are due"):
        read(minari_set(folder, arrays))


def test_metadata_gives_environment_box_and_label(folder):
    spec = json.dumps({"id": "Hopper-v5", "order_enforce": True, "apply_api_compatibility": False})
    space = json.dumps(BOX)
    minari_set(folder, minari([3]), env_spec=spec, action_space=space, dataset_id="a/hopper/medium-v0")
    episodes, source = read(folder)
    assert (source.environment, source.action_high.tolist()) == ("Hopper-v5", [2.0, 2.0])
    assert episodes[0].source == "a/hopper/medium-v0"


def test_older_sets_keep_metadata_as_attributes_of_the_file(tmp_path):
    attributes = {"dataset_id": "old-v0", "env_spec": json.dumps({"id": "Old-v1"}), "total_episodes": 1}
    path = hdf5(tmp_path / "main_data.hdf5", minari([3]), attributes)
    episodes, source = read(path)
    assert (episodes[0].source, source.environment) == ("old-v0", "Old-v1")


def test_the_file_the_data_folder_and_the_set_are_the_same(folder):
    minari_set(folder, minari([3, 2]), dataset_id="a-v0")
    for place in (folder, folder / "data", folder / "data" / "main_data.hdf5"):
        assert [len(e) for e in read(place)[0]] == [3, 2]


def test_episodes_that_the_metadata_promise_and_the_file_lacks_are_counted(folder):
    _, source = read(minari_set(folder, minari([3, 2]), total_episodes=5))
    assert source.notes.counts["absent_episodes"] == 3


def test_infos_become_extras_those_of_a_reset_aside(folder):
    arrays = minari([3])
    del arrays["episode_0/infos"]
    arrays |= {"episode_0/infos/x_position": np.arange(4.0), "episode_0/infos/deep/cost": np.arange(3.0)}
    episodes, _ = read(minari_set(folder, arrays))
    assert episodes[0].extras["x_position"].tolist() == [1, 2, 3]
    assert episodes[0].extras["deep/cost"].tolist() == [0, 1, 2]


def test_dictionary_observations_need_a_list_of_keys(folder):
    arrays = minari([3])
    del arrays["episode_0/observations"]
    for key, width in (("observation", 3), ("desired_goal", 2)):
        arrays[f"episode_0/observations/{key}"] = np.full((4, width), width, np.float32)
    minari_set(folder, arrays)
    with pytest.raises(
        ValueError, match="dictionary of desired_goal, observation; choose an order with --obs-keys"
    ):
        read(folder)
    episodes, _ = read(folder, obs_keys=("observation", "desired_goal"))
    assert episodes[0].obs[0].tolist() == [3, 3, 3, 2, 2]
    with pytest.raises(ValueError, match="no observation 'goal'"):
        read(folder, obs_keys=("goal",))


def test_discrete_actions_are_refused(folder):
    arrays = minari([3])
    arrays["episode_0/actions"] = np.arange(3)
    with pytest.raises(ValueError, match="discrete actions"):
        read(minari_set(folder, arrays))


def test_metadata_that_is_no_json_is_refused(folder):
    minari_set(folder, minari([3]))
    (folder / "data" / "metadata.json").write_text("{")
    with pytest.raises(ValueError, match=r"metadata.json is not JSON"):
        open_source(folder)


@pytest.mark.parametrize("kind", ["h\x7ff5", 3, None])
def test_a_storage_that_nobody_knows_is_refused(tmp_path, kind):
    folder = minari_set(tmp_path / "x-v0", minari([4]))
    path = folder / "data" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data_format": kind}))
    with pytest.raises(ValueError, match=r"data_format .*; one of hdf5, arrow, parquet"):
        read(folder)


def test_real_set_has_five_episodes():
    episodes, source = read(shared("minari/fixtures/hopper/mixed-v0"))
    assert [len(e) for e in episodes] == [401, 651, 410, 403, 1000]
    assert [e.terminated for e in episodes] == [True] * 4 + [False]
    assert [round(e.episode_return, 1) for e in episodes] == [1223.6, 2382.4, 1267.1, 1240.3, 3661.4]
    assert source.environment == "Hopper-v5"


def test_the_minari_package_reads_what_is_exported(tmp_path):
    package = pytest.importorskip("minari", reason="minari is not installed")
    episodes = [
        Episode(np.arange(8.0).reshape(4, 2), np.ones((3, 1)) / 2, np.ones(3), terminated, True, "s")
        for terminated in (True, False)
    ]
    store = store_of(episodes, environment="Pendulum-v1", action_low=[-2.0], action_high=[2.0])
    export(store, tmp_path / "toy-v0", "minari")
    found = package.MinariDataset(tmp_path / "toy-v0" / "data")
    assert (found.total_episodes, found.total_steps, found.env_spec.id) == (2, 6, "Pendulum-v1")
    for got, due in zip(found.iterate_episodes(), episodes, strict=True):
        np.testing.assert_array_equal(got.observations, due.obs)
        np.testing.assert_array_equal(got.actions, due.actions)
        assert (got.terminations[-1], got.truncations[-1]) == (due.terminated, not due.terminated)


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_other_storages_are_read_through_the_minari_package(tmp_path, kind):
    pytest.importorskip("minari", reason="minari is not installed")
    spaces = pytest.importorskip("gymnasium").spaces
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset._storages import get_minari_storage

    data = tmp_path / "set-v0" / "data"
    data.mkdir(parents=True)
    box = spaces.Box(-1, 1, (2,), np.float32)
    storage = get_minari_storage(kind).new(data, box, box, data_format=kind)
    steps = np.arange(8, dtype=np.float32).reshape(4, 2) / 10
    flags = [False, False, True]
    storage.update_episodes([EpisodeBuffer(
        id=0, observations=list(steps), actions=list(steps[:3]), rewards=[0.0, 1.0, 2.0],
        terminations=flags, truncations=[False] * 3, infos={},
    )])  # fmt: skip
    storage.update_metadata({"dataset_id": "set-v0", "minari_version": "0.5.3"})
    episodes, _ = read(tmp_path / "set-v0")
    np.testing.assert_array_equal(episodes[0].obs, steps)
    np.testing.assert_array_equal(episodes[0].actions, steps[:3])
    assert (episodes[0].rewards.tolist(), episodes[0].terminated) == ([0, 1, 2], True)
