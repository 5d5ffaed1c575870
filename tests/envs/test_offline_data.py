"""Suites find the offline data that belongs to them where its own tools keep it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest

from trajrl import make_suite
from trajrl.cli.main import dispatch


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("D4RL_DATASET_DIR", raising=False)
    return tmp_path


def d4rl_file(path: Path, obs_dim: int, action_dim: int) -> None:
    """Write six rows in D4RL's layout: an episode that ends after two, one that is cut after four."""
    path.parent.mkdir(parents=True)
    obs = np.arange(6 * obs_dim, dtype=np.float32).reshape(6, obs_dim)
    after = np.concatenate([obs[1:2], obs[1:2] + 0.5, obs[3:], obs[:1]])  # o_T is no row of its own
    with h5py.File(path, "w") as file:
        file["observations"], file["next_observations"] = obs, after
        file["actions"], file["rewards"] = np.zeros((6, action_dim), np.float32), np.ones(6, np.float32)
        file["terminals"], file["timeouts"] = np.arange(6) == 1, np.arange(6) == 5


def test_a_d4rl_name_reads_the_cache_of_d4rl(home):
    d4rl_file(home / ".d4rl/datasets/hopper_medium-v2.hdf5", 11, 3)
    suite = make_suite("d4rl:hopper-medium-v2")
    episodes = list(suite.episodes())
    assert [len(episode) for episode in episodes] == [2, 4]
    assert [episode.terminated for episode in episodes] == [True, False]
    assert episodes[0].obs.shape[1] == suite.obs_dim
    assert episodes[0].actions.shape[1] == suite.action_dim


@pytest.mark.skipif(find_spec("ogbench") is None, reason="the extra 'ogbench' is not installed")
def test_an_ogbench_task_reads_the_cache_of_ogbench(home):
    place = home / ".ogbench/data/pointmaze-medium-navigate-v0.npz"
    place.parent.mkdir(parents=True)
    rows = np.arange(4, dtype=np.float32)[:, None].repeat(2, 1)
    np.savez(place, observations=rows, actions=rows, qpos=rows, qvel=rows, terminals=np.arange(4) == 3)
    suite = make_suite("ogbench:pointmaze-medium-navigate-singletask-v0")
    (episode,) = suite.episodes()
    assert (len(episode), episode.terminated) == (3, False)
    assert episode.extras["qpos"].tolist() == rows[:3].tolist()


def test_toy_rooms_makes_its_own():
    assert make_suite("toy:rooms").makes_data
    assert not make_suite("toy:point").makes_data


@pytest.mark.parametrize("data", ["pen-human-v1", "d4rl:pen-human-v1"])
def test_data_that_cannot_be_acted_in_is_trained_on(home, capsys, data):
    d4rl_file(home / ".d4rl/datasets/pen-human-v1.hdf5", 45, 24)
    words = ["offline", "--data", data, "--agent", "td3_bc", "--steps", "2", "--out", str(home / "run")]
    words += ["--set", "batch_size=4", "agent.width=8"]
    assert dispatch(words) == 0
    assert "training without evaluation: d4rl:pen-human-v1 needs mjrl" in capsys.readouterr().out
    assert dispatch([*words[:-4], str(home / "other"), "--env", "d4rl:pen-human-v1"]) == 1
    assert "needs mjrl" in capsys.readouterr().err
