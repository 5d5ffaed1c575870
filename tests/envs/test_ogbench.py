"""OGBench: names, rewards relabelled from recorded physics, random numbers, and the package's own oracles."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ogbench", reason="the extra 'ogbench' is not installed")

from trajrl import Anchors, Episode, TrajectoryStore, WindowSpec, gather, make_suite
from trajrl.core.rng import stream
from trajrl.envs import make_demonstration
from trajrl.envs.base.scripted import demonstrate
from trajrl.envs.ogbench_names import parse, single_task
from trajrl.formats import open_source
from trajrl.rollout.collector import Streams, collect
from trajrl.rollout.policies import RandomPolicy

CUBE = "ogbench:cube-single-play-singletask-v0"
SHARED = Path(os.environ.get("TRAJRL_SHARED", Path(__file__).parents[2] / "../shared")) / "data/ogbench"
shared = pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not there")
slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "environment", "dataset"),
    [
        ("cube-single-play-singletask-v0", "cube-single-singletask-v0", "cube-single-play-v0"),
        ("cube-double-play-singletask-task2-v0", "cube-double-singletask-task2-v0", "cube-double-play-v0"),
        (
            "antmaze-large-navigate-singletask-task5-v0",
            "antmaze-large-singletask-task5-v0",
            "antmaze-large-navigate-v0",
        ),
        (
            "visual-cube-single-play-singletask-task3-v0",
            "visual-cube-single-singletask-task3-v0",
            "visual-cube-single-play-v0",
        ),
        ("visual-puzzle-3x3-singletask-v0", "visual-puzzle-3x3-singletask-v0", "visual-puzzle-3x3-play-v0"),
        ("scene-noisy-singletask-v0", "scene-singletask-v0", "scene-noisy-v0"),
        ("cube-single-singletask-v0", "cube-single-singletask-v0", "cube-single-play-v0"),
        (
            "antmaze-giant-singletask-task1-v0",
            "antmaze-giant-singletask-task1-v0",
            "antmaze-giant-navigate-v0",
        ),
    ],
)
def test_a_published_name_is_an_environment_and_a_data_set(name, environment, dataset):
    assert parse(name) == (environment, dataset, True)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("cube-single-v0", "cube-single-play-singletask-v0"),
        ("cube-single-play-v0", "cube-single-play-singletask-v0"),
        ("antmaze-large-v0", "antmaze-large-navigate-singletask-v0"),
        ("pointmaze-medium-v0", "pointmaze-medium-navigate-singletask-v0"),
    ],
)
def test_a_goal_conditioned_environment_shows_its_goal_and_names_its_default_task(name, task):
    assert single_task(name) == task
    suite, one = make_suite(f"ogbench:{name}"), make_suite(f"ogbench:{task}")
    assert (suite.goal_conditioned, suite.num_tasks, suite.obs_dim) == (True, 5, 2 * one.obs_dim)
    assert (one.goal_conditioned, one.num_tasks, one.task_of(3)) == (False, 0, None)
    assert suite.one_task() == one.one_task() == f"ogbench:{task}"
    env = suite.make(0)
    obs, info = env.reset(seed=4, options={"task_id": 3})
    assert env.unwrapped.cur_task_id == 3
    assert np.array_equal(obs[one.obs_dim :], np.float32(info["goal"]))
    assert np.array_equal(env.step(np.zeros(suite.action_dim))[0][one.obs_dim :], obs[one.obs_dim :])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cube-singel-play-singletask-v0", "did you mean 'cube-single-singletask-v0'"),
        (
            "visual-cube-single-play-v0",
            "goal-conditioned; take one of its tasks, such as visual-cube-single-play-",
        ),
        ("visual-cube-singel-play-singletask-v0", "did you mean 'visual-cube-single-singletask-v0'"),
        ("powderworld-easy-play-v0", "discrete actions"),
        ("cube-singel-play-v0", "did you mean 'cube-single-v0'"),
        ("cube", "no OGBench environment 'cube'"),
        ("", "no OGBench environment ''"),
        ("singletask-v0", "no OGBench environment"),
        ("humanoidmaze-teleport-navigate-singletask-v0", "cannot be made: [^\n]*$"),
    ],
)
def test_what_is_no_task_or_not_there_is_refused(name, words):
    with pytest.raises(ValueError, match=words) as caught:
        make_suite(f"ogbench:{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "ogbench:scene-play-singletask-v0",
        *(pytest.param(name, marks=slow) for name in (CUBE, "ogbench:puzzle-3x3-play-singletask-v0")),
    ],
)
def test_relabelled_rewards_are_those_the_environment_gave(name):
    suite = make_suite(name, time_limit=12)
    episodes = [e for _, e in zip(range(2), collect(suite, RandomPolicy(5), Streams(0), 1, "random"))]
    store = TrajectoryStore.of(
        Episode(e.obs, e.actions, e.rewards * 0 - 99, False, extras=e.extras) for e in episodes
    )
    assert suite.relabel(store) == 24
    np.testing.assert_array_equal(store.rewards.slice(0, 24), np.concatenate([e.rewards for e in episodes]))
    assert not store.extras["terminal"].slice(0, 24).any()


@pytest.mark.slow
def test_relabelling_looks_inside_even_if_environments_have_processes_of_their_own():
    plain, apart = make_suite(CUBE, time_limit=12), make_suite(CUBE, time_limit=12, env_timeout=60)
    episode = next(collect(plain, RandomPolicy(5), Streams(0), 1, "random"))
    store = TrajectoryStore.of(
        [Episode(episode.obs, episode.actions, episode.rewards, False, extras=episode.extras)]
    )
    assert apart.relabel(store) == 0


def test_pointmaze_ends_where_the_goal_was_reached():
    suite = make_suite("ogbench:pointmaze-medium-navigate-singletask-v0")
    env = suite.make(0)
    goal = np.array(env.unwrapped.cur_goal_xy)
    qpos = np.array([goal + 3, goal + 0.5, goal, goal - 2], np.float32)
    store = TrajectoryStore.of(
        [Episode(np.zeros((5, 2)), np.zeros((4, 2)), np.zeros(4), False, extras={"qpos": qpos})]
    )
    assert suite.relabel(store) == 2
    assert store.rewards.slice(0, 4).tolist() == [-1, 0, 0, -1]
    assert store.extras["terminal"].slice(0, 4).tolist() == [False, True, True, False]
    assert store.table.success.tolist() == [1]
    assert store.table.returns.tolist() == [-2]


def test_data_without_physics_cannot_be_relabelled():
    store = TrajectoryStore.of([Episode(np.zeros((5, 28)), np.zeros((4, 5)), np.zeros(4), False)])
    with pytest.raises(ValueError, match="relabelled from qpos, which the data lacks"):
        make_suite(CUBE).relabel(store)


def test_a_sparse_variant_counts_every_unsolved_step_once():
    import torch

    suite = make_suite("ogbench:puzzle-3x3-play-singletask-v0", sparse=True, reward_shift=1.0)
    assert suite.shape_reward(torch.tensor([-5.0, -1.0, 0.0])).tolist() == [0, 0, 1]


@shared
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("cube-single-play-v0", CUBE),
        pytest.param("cube-single-play-v0", "ogbench:cube-single-play-singletask-task1-v0", marks=slow),
        ("scene-play-v0", "ogbench:scene-play-singletask-v0"),
        ("pointmaze-medium-navigate-v0-val", "ogbench:pointmaze-medium-navigate-singletask-v0"),
    ],
)
def test_relabelling_agrees_with_the_package(file, name):
    from ogbench.relabel_utils import relabel_dataset
    from ogbench.utils import load_dataset

    from trajrl.formats import open_source

    theirs = load_dataset(str(SHARED / f"{file}.npz"), add_info=True)
    suite = make_suite(name)
    relabel_dataset(suite.task.environment, suite.make(0).unwrapped, theirs)
    store = TrajectoryStore.of(open_source(SHARED / f"{file}.npz").episodes())
    suite.relabel(store)
    rewards = np.asarray(store.rewards.slice(0, len(store.rewards)))
    np.testing.assert_array_equal(rewards, theirs["rewards"])
    np.testing.assert_array_equal(
        ~store.extras["terminal"].slice(0, len(rewards)), theirs["masks"].astype(bool)
    )
    assert len(np.unique(rewards)) > 1 or "pointmaze" in file
    assert store.table.returns.sum() == pytest.approx(theirs["rewards"].sum(dtype=np.float64))


@shared
@pytest.mark.parametrize(("task", "count", "percent"), [(1, 61, 0.61), (2, 243, 2.43), (3, 115, 1.15)])
def test_chunks_of_play_data_see_the_goal_as_often_as_their_marks_say(task, count, percent):
    store = TrajectoryStore.of(open_source(str(SHARED / "cube-single-play-v0.npz")).episodes())
    make_suite(f"ogbench:cube-single-play-singletask-task{task}-v0").relabel(store)
    length, solved = store.table.length, store.extras["terminal"].slice(0, store.num_steps)
    episode = np.repeat(np.arange(len(store)), length)
    step = np.arange(len(episode)) - store.table.start[episode]
    batch = gather(store, Anchors(episode, step, np.ones(len(episode), np.float32)), WindowSpec(chunk=5))
    used = (batch.steps == 5).numpy()  # what partial_chunks=drop trains the critic on
    by_hand = np.lib.stride_tricks.sliding_window_view(np.append(solved, np.zeros(4, bool)), 5).any(1)
    np.testing.assert_array_equal(used, step <= length[episode] - 5)
    np.testing.assert_array_equal(batch.terminated.numpy()[used], by_hand[used])
    starts = len(episode) - 4  # what the published code draws from, windows across episodes among them
    assert by_hand[used].sum() == count
    assert round(100 * count / starts, 2) == percent


@shared
def test_statistics_of_a_relabelled_file_are_its_own(tmp_path):
    from trajrl.formats import import_source, open_source

    import_source(open_source(SHARED / "cube-single-play-v0-val.npz"), tmp_path / "c.h5")
    store = TrajectoryStore.open(tmp_path / "c.h5")
    make_suite(CUBE).relabel(store)
    mean = store.attributes["statistics"]["reward_mean"]
    assert mean == pytest.approx(np.mean(store.rewards.slice(0, len(store.rewards))))
    assert (
        TrajectoryStore.open(tmp_path / "c.h5").rewards.slice(0, 5).tolist() == [0] * 5
    )  # the file is as it was


def short_demonstration(name, steps):
    import gymnasium

    shown = make_demonstration(name)
    return shown._replace(env=gymnasium.wrappers.TimeLimit(shown.env, steps))


@pytest.mark.parametrize("name", ["ogbench:cube-single-v0", CUBE])
def test_an_oracle_moves_the_cube_and_its_play_is_a_function_of_the_seed(name):
    episode = demonstrate(short_demonstration(name, 90), 0, 0, "oracle")
    assert episode.extras["qpos"].shape == (90, 21)
    assert np.linalg.norm(episode.extras["qpos"][-1, 14:17] - episode.extras["qpos"][0, 14:17]) > 0.02
    stream(0, "between")
    again = demonstrate(short_demonstration(name, 90), 0, 0, "oracle")
    np.testing.assert_array_equal(episode.actions, again.actions)
    np.testing.assert_array_equal(episode.obs, again.obs)
    other = demonstrate(short_demonstration(name, 5), 0, 1, "oracle")
    assert not np.array_equal(other.actions, episode.actions[:5])
    assert not episode.terminated


@pytest.mark.parametrize(
    "name", ["cube-single-v0", "cube-single-play-v0", "cube-single-play-singletask-task2-v0"]
)
def test_whatever_name_is_told_of_the_oracle_names_its_environment(name):
    assert make_demonstration(f"ogbench:{name}").name == "ogbench:cube-single-v0"


def test_a_scene_is_played_with_every_script():
    shown = short_demonstration("ogbench:scene-v0", 4)
    tasks = {shown.env.reset(seed=seed)[1]["privileged/target_task"] for seed in range(12)}
    assert len(tasks) > 1
    assert demonstrate(shown, 0, 0, "oracle").extras["button_states"].shape == (4, 2)


@shared
@pytest.mark.parametrize(
    ("data", "env"),
    [
        ("cube-single-play-v0-val.npz", CUBE),
        pytest.param("scene-play-v0-val.npz", "ogbench:scene-play-singletask-v0", marks=pytest.mark.slow),
        pytest.param(
            "pointmaze-medium-navigate-v0-val.npz", "ogbench:pointmaze-medium-navigate-singletask-v0",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_online_episodes_join_the_published_data(tmp_path, data, env):
    from small_runs import small_online, small_run

    from trajrl.training import loop

    source, short = tmp_path / "offline", {"env.time_limit": 25, "eval_every": 0}
    loop.offline(small_run(source, SHARED / data, agent="td3_bc", steps=2, env=env, **short))
    run = small_online(tmp_path / "online", source, **short)
    known = len(run.store)
    loop.online(run)
    assert len(run.store) == known + 2


def test_the_name_of_the_scale_holds_the_packages_version():
    from importlib.metadata import version

    assert make_suite(CUBE).score(0.0) == (None, f"ogbench-{version('ogbench')}")
