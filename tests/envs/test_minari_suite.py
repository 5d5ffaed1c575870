"""minari:NAME: the recovered environment, its own references, its data; and goal environments laid flat."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec

import gymnasium
import h5py
import numpy as np
import pytest

from trajrl import make_suite
from trajrl.envs.gymnasium import side_by_side
from trajrl.store.store import TrajectoryStore

SPEC = {"id": "Pendulum-v1", "max_episode_steps": 7, "kwargs": {"g": 5.0}, "additional_wrappers": []}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Make a Minari root with one small data set."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def write(root, name="mine/pendulum/few-v0", spec=SPEC, **metadata):
    folder = root / name / "data"
    folder.mkdir(parents=True)
    with h5py.File(folder / "main_data.hdf5", "w") as file:
        episode = file.create_group("episode_0")
        episode["observations"], episode["actions"] = np.zeros((8, 3)), np.zeros((7, 1), np.float32)
        episode["rewards"] = np.arange(7.0)
        episode["terminations"], episode["truncations"] = np.zeros(7, bool), np.arange(7) == 6
    kept = {"dataset_id": name, "total_episodes": 1, **({"env_spec": json.dumps(spec)} if spec else {})}
    (folder / "metadata.json").write_text(json.dumps({**kept, **metadata}))
    return f"minari:{name}"


def test_the_environment_is_the_one_recorded_in(root):
    suite = make_suite(write(root))
    env = suite.make(0)
    assert env.unwrapped.g == 5.0
    ends = [env.step(np.zeros(1, np.float32))[3] for _ in range(7)]
    assert ends == [False] * 6 + [True]
    assert make_suite(suite.name).obs_dim == suite.obs_dim == 3


def test_scores_are_between_its_own_references_or_none(root):
    assert make_suite(write(root)).score(3.0) == (None, "none")
    own = make_suite(write(root, "mine/pendulum/more-v0", ref_min_score=-10.0, ref_max_score=30.0))
    value, name = own.score(10.0)
    assert value == 50.0
    assert "own references" in name
    assert "d4rl" not in name.lower()
    assert make_suite(own.name, arguments={"g": 1.0}).score(10.0) == (None, "none")


def test_a_reference_that_is_no_number_is_reported(root):
    with pytest.raises(ValueError, match="has a ref_min_score that is no number: 'low'"):
        make_suite(write(root, ref_min_score="low", ref_max_score=1)).score(0.0)


def test_its_episodes_are_its_data(root):
    store = TrajectoryStore.of(make_suite(write(root)).episodes())
    assert store.table.returns.tolist() == [21.0]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (None, "does not say which environment"),
        ({**SPEC, "id": 5}, "does not say which environment"),
        ({**SPEC, "kwargs": [1]}, "does not say which environment"),
        ({**SPEC, "additional_wrappers": [{"name": "Flatten"}]}, "under wrappers .Flatten."),
        ({**SPEC, "id": "Pendulm-v1"}, "did you mean 'Pendulum-v1'"),
    ],
)
def test_what_cannot_be_recovered_is_reported(root, spec, words):
    with pytest.raises(ValueError, match=words):
        make_suite(write(root, spec=spec))


class Goal(gymnasium.Env):
    """Three parts, distinguished by their numbers; with `nested` the goals are dictionaries."""

    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, nested=False):
        box = gymnasium.spaces.Box(-9, 9, (2,))
        goal = gymnasium.spaces.Dict({"a": box}) if nested else box
        parts = {"achieved_goal": goal, "desired_goal": goal, "observation": box}
        self.observation_space = gymnasium.spaces.Dict(parts)

    def reset(self, *, seed=None, options=None):
        return {"desired_goal": np.full(2, 3), "achieved_goal": np.full(2, 2), "observation": np.ones(2)}, {}


def test_goal_environments_are_laid_side_by_side():
    assert side_by_side(Goal()).reset()[0].tolist() == [1, 1, 2, 2, 3, 3]
    assert side_by_side(Goal(nested=True)).reset()[0].tolist() == [1, 1]


ROBOTICS = {
    "AdroitHandDoor-v1": (39, 28), "AntMaze_UMaze-v4": (31, 8), "FetchReach-v4": (16, 4),
    "FrankaKitchen-v1": (59, 9), "PointMaze_UMaze-v3": (8, 2),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gymnasium_robotics") is None, reason="the extra 'robotics' is not installed")
@pytest.mark.parametrize("name", ROBOTICS)
def test_robotics_environments_step(name):
    suite = make_suite(name)
    assert (suite.obs_dim, suite.action_dim) == ROBOTICS[name]
    one, other = suite.make(0), suite.make(1)
    action = np.full(suite.action_dim, 0.3, np.float32)
    seen = [[env.reset(seed=4)[0], env.step(action)[0]] for env in (one, other)]
    np.testing.assert_array_equal(*map(np.stack, seen))


def test_a_folder_of_anothers_is_found_by_its_name(root, tmp_path):
    name = write(root)
    shutil.move(root / "mine", root / "theirs")
    with pytest.raises(FileNotFoundError):
        make_suite(name)
    assert make_suite(name.replace("mine", "theirs")).obs_dim == 3
