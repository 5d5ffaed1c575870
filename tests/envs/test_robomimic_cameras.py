"""Image policies in robosuite: acting sees what robomimic's file holds, key by key and pixel by pixel."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from actors import Watcher
from foreign import at, hdf5
from robosuite_standin import LENGTH, Standin, demonstration

from trajrl import TrajectoryStore, gather, make_suite
from trajrl.agents.base.protocol import history_of
from trajrl.envs.robomimic import RobomimicSuite
from trajrl.envs.robomimic_arguments import recorded_arguments
from trajrl.envs.robomimic_cameras import cameras_of
from trajrl.formats import export, import_source, open_source
from trajrl.formats.base.embed import embed_store
from trajrl.rollout.collector import Collector, Streams, in_order
from trajrl.store.window import Anchors
from trajrl.training.config import RunConfig
from trajrl.training.data import find_suite, open_data

AGENT, HAND = "agentview_image", "robot0_eye_in_hand_image"
STATE = ("robot0_joint_pos", "robot0_eef_pos")
DRAWN = {"camera_names": ["agentview", "robot0_eye_in_hand"], "camera_heights": 12, "camera_widths": 8}


@pytest.fixture
def standin(monkeypatch):
    """Put the stand-in where robosuite's tasks are made; returns the arguments that tasks were made with."""
    made = []

    def make(name, arguments, render):
        made.append((dict(arguments), render))
        return Standin()

    monkeypatch.setattr("trajrl.envs.robomimic.make_task", make)
    return made


def recording(path, version: str = "1.4.1", **kwargs):
    """Write a file of two demonstrations as robomimic extracts them from states."""
    obs = demonstration(12, 8)
    arrays = {}
    for demo in ("demo_0", "demo_1"):
        arrays |= {f"data/{demo}/obs/{key}": rows[:-1] for key, rows in obs.items()}
        arrays |= {f"data/{demo}/next_obs/{key}": rows[1:] for key, rows in obs.items()}
        arrays |= {
            f"data/{demo}/actions": np.zeros((LENGTH, 7)),
            f"data/{demo}/rewards": at(LENGTH, LENGTH - 1).astype(float),
            f"data/{demo}/dones": at(LENGTH, LENGTH - 1).astype(np.int64),
        }
    arguments = {"env_name": "Lift", "env_version": version, "type": 1, "env_kwargs": {**DRAWN, **kwargs}}
    return hdf5(path, arrays, {"data@env_args": json.dumps(arguments)})


def imported(tmp_path, *keys: str, **options) -> str:
    import_source(open_source(recording(tmp_path / "x.hdf5"), obs_keys=keys, **options), tmp_path / "x.h5")
    return str(tmp_path / "x.h5")


def suite_of(data: str, **config):
    config = RunConfig(data=data, **config)
    store = open_data(config)
    return store, find_suite(config, store)


@pytest.mark.parametrize(
    ("keys", "size"),
    [((*STATE, HAND, AGENT), ()), ((AGENT,), ()), ((*STATE, AGENT), (5, 6)), ((AGENT, HAND), (24, 24))],
)
def test_acting_sees_what_training_saw(keys, size, standin, tmp_path):
    store, suite = suite_of(imported(tmp_path, *keys, image_size=size))
    shown = [key for key in keys if key.endswith("_image")]
    assert list(suite.images) == list(store.images)
    assert set(store.images) == set(shown)
    watcher = Watcher(7, suite.images)
    acted = [done.episode for done in in_order(Collector(suite, watcher, Streams(4), 1, num_episodes=1))]
    assert len(acted[0]) == LENGTH
    recorded = store.episode(1)
    np.testing.assert_array_equal(acted[0].obs, recorded.obs)
    for key in shown:
        np.testing.assert_array_equal(acted[0].images[key], recorded.images[key])
    steps = np.arange(0, LENGTH, 2)
    anchors = Anchors(np.ones(3, np.int64), steps, np.ones(3, np.float32))
    images = history_of(gather(store, anchors, watcher.spec)).images
    for row, seen in enumerate(watcher.shown):
        assert all(torch.equal(a[row : row + 1], b) for a, b in zip(images, seen.images, strict=True))


def test_frames_are_upright_and_bytes(standin):
    suite = make_suite("robomimic:Lift", obs_keys=("state", AGENT), arguments=DRAWN)
    seen, _ = suite.make(0).reset(seed=0)
    assert suite.images == {AGENT: (12, 8, 3)}
    assert seen[AGENT].dtype == np.uint8
    assert seen[AGENT][:, 0, 0].tolist() == list(range(33, -1, -3))  # rows are counted from below
    assert seen[AGENT][0, :, 1].tolist() == list(range(0, 40, 5))


def test_nothing_is_drawn_where_no_image_is_seen(standin, tmp_path):
    _, suite = suite_of(imported(tmp_path, *STATE))
    assert (suite.obs_dim, suite.images) == (10, {})
    assert make_suite("robomimic:Lift", arguments=DRAWN).images == {}
    assert not any(render for _, render in standin)


def test_a_run_may_see_less_than_its_data_holds(standin, tmp_path):
    data = imported(tmp_path, *STATE, AGENT, HAND)
    _, suite = suite_of(data, obs_keys=f"state,{HAND}")
    assert (suite.obs_dim, list(suite.images)) == (10, [HAND])
    suite.make(0)
    assert all(render for _, render in standin)
    assert suite_of(data, obs_keys="state")[1].images == {}


def test_a_file_that_was_written_again_smaller_is_still_drawn_as_large_as_it_was(standin, tmp_path):
    first = imported(tmp_path, *STATE, AGENT, image_size=(6, 4))
    export(TrajectoryStore.open(first), tmp_path / "y.hdf5", "robomimic")
    import_source(open_source(tmp_path / "y.hdf5", obs_keys=(*STATE, AGENT)), tmp_path / "y.h5")
    store, suite = suite_of(str(tmp_path / "y.h5"))
    assert suite.options.arguments["camera_heights"] == [12]
    seen, _ = suite.make(0).reset(seed=0)
    np.testing.assert_array_equal(seen[AGENT], store.images[AGENT].slice(0, 1)[0])


def test_features_of_images_are_made_of_the_same_frames(standin, tmp_path):
    data = imported(tmp_path, *STATE, AGENT, image_size=(8, 8))
    embed_store(tmp_path / "x.h5", tmp_path / "f.h5", "impala_small")
    store, suite = suite_of(str(tmp_path / "f.h5"))
    seen, _ = suite.make(0).reset(seed=0)
    np.testing.assert_array_equal(seen, store.obs.slice(0, 1)[0])
    assert data


def test_arguments_are_those_that_all_origins_say_alike():
    one = {"versions": {"env_args": {"env_kwargs": {"control_freq": 20}}}, "images": {AGENT: [84, 84, 3]}}
    other = {**one, "options": {"image_size": [42, 42]}}
    drawn = {"camera_names": ["agentview"], "camera_heights": [84], "camera_widths": [84], "control_freq": 20}
    assert recorded_arguments(one) == drawn
    assert recorded_arguments({"origins": [one, one]}) == drawn
    assert recorded_arguments({"origin": other}) == {**drawn, "image_sizes": {AGENT: [42, 42]}}
    assert recorded_arguments({"origins": [one, other]}) == {}
    assert recorded_arguments({"arguments": {"control_freq": 9}, "command": "collect"}) == {"control_freq": 9}
    assert recorded_arguments(None) == recorded_arguments({"versions": 3, "options": [], "images": ""}) == {}


@pytest.mark.parametrize(("version", "key"), [("1.4.1", "object"), ("1.5.1", "object-state"), ("", "object")])
def test_objects_are_ordered_as_in_the_robosuite_that_recorded_them(version, key, tmp_path):
    path = recording(tmp_path / "x.hdf5", version)
    import_source(open_source(path, obs_keys=("object", "robot0_eef_pos")), tmp_path / "x.h5")
    found = RobomimicSuite.recorded_with(open_data(RunConfig(data=str(tmp_path / "x.h5"))).attributes)
    assert found["arguments"]["state_keys"] == [key, "robot0_eef_pos"]


def test_each_camera_may_have_a_size_of_its_own():
    arguments = {
        "camera_names": ["agentview", "robot0_eye_in_hand"],
        "camera_heights": [12, 6],
        "camera_widths": 8,
    }
    found = cameras_of((HAND, AGENT), arguments, "x")
    assert [(one.name, one.drawn, one.shown) for one in found.values()] == [
        ("robot0_eye_in_hand", (6, 8), (6, 8)), ("agentview", (12, 8), (12, 8)),
    ]  # fmt: skip
    assert cameras_of((AGENT,), {}, "x")[AGENT].drawn == (84, 84)


@pytest.mark.parametrize(
    ("keys", "arguments", "said"),
    [
        (("state", "pixels"), {}, "shows images under CAMERA_image, such as agentview_image; got 'pixels'"),
        (
            ("state", "agentvew_image"),
            {},
            "no camera of robomimic:Lift 'agentvew'; did you mean 'agentview'?",
        ),
        ((AGENT,), {"camera_heights": [84]}, "camera_heights names no size of 'agentview'; got \\[84\\]"),
        (
            (AGENT,),
            {"camera_heights": -1},
            "a height and a width of 1 to 4096 pixels are due; got \\(-1, 84\\)",
        ),
        ((AGENT,), {"image_sizes": {AGENT: [3]}}, "image_sizes of 'agentview_image': a height and a width"),
        (
            (),
            {"state_keys": ["robot0_eef_post"]},
            "no observation of robomimic:Lift .* did you mean 'robot0_eef_pos'",
        ),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(keys, arguments, said, standin):
    with pytest.raises(ValueError, match=said) as caught:
        make_suite("robomimic:Lift", obs_keys=keys, arguments=arguments)
    assert "\n" not in str(caught.value)
