"""The controller of point mazes: shortest ways, goals reached, the rewards of one task."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ogbench", reason="the extra 'ogbench' is not installed")

from trajrl import TrajectoryStore, make_suite
from trajrl.core.rng import stream
from trajrl.envs import make_demonstration
from trajrl.envs.base.scripted import demonstrate
from trajrl.envs.ogbench_waypoints import cells, crossings, distances

MEDIUM = "ogbench:pointmaze-medium-navigate-singletask-v0"
GOAL = np.array([20.0, 20.0])  # of the default task, 10 cells from where it starts
START = (1, 1)


@pytest.fixture(scope="module")
def shown():
    return make_demonstration(MEDIUM)


@pytest.fixture(scope="module")
def episodes(shown):
    return [demonstrate(shown, 0, number, "navigate", noise=0.5) for number in range(6)]


def test_ways_are_the_shortest_and_lead_where_the_package_says(shown):
    shown.env.reset(seed=0)
    raw = shown.env.unwrapped
    for cell in cells(raw.maze_map):
        for goal in crossings(raw.maze_map)[::5]:
            theirs = raw.get_oracle_subgoal(np.array(raw.ij_to_xy(cell)), np.array(raw.ij_to_xy(goal)))
            found = distances(raw.maze_map, goal)
            assert found[cell] == theirs[1][cell]
            shown.script._cell, shown.script._distance = goal, found
            shown.script._goal = np.array(raw.ij_to_xy(goal))
            np.testing.assert_array_equal(shown.script._waypoint(cell), theirs[0])


def test_corridors_are_no_goals():
    maze = np.array([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 1, 1, 1, 1]])
    assert crossings(maze) == [(1, 1), (1, 3), (2, 3)]
    assert distances(maze, (2, 3)) == {(2, 3): 0, (1, 3): 1, (1, 2): 2, (1, 1): 3}


def test_the_controller_reaches_its_goals_one_after_another(shown):
    obs, info = shown.env.reset(seed=3)
    shown.script.begin(obs, info, stream(0, "test"))
    goals = [shown.script._goal]
    for _ in range(600):
        obs, *_, info = shown.env.step(shown.script.act(obs, info))
        if shown.script._goal is not goals[-1]:
            goals.append(shown.script._goal)
    assert len(goals) > 4, "a way takes a hundred steps or so"


def test_episodes_have_the_length_and_the_rewards_of_the_single_task(episodes):
    for episode in episodes:
        there = np.linalg.norm(episode.extras["qpos"] - GOAL, axis=1) <= 1
        assert (len(episode), episode.terminated) == (1000, False)
        np.testing.assert_array_equal(episode.rewards, np.where(there, 0, -1))
        np.testing.assert_array_equal(episode.extras["terminal"], there)
        assert episode.success == there.any()
    store = TrajectoryStore.of(episodes)
    marks = np.asarray(store.extras["terminal"].slice(0, store.num_steps))
    assert make_suite(MEDIUM).relabel(store) == 0, "they are what relabelling gives"
    np.testing.assert_array_equal(store.extras["terminal"].slice(0, store.num_steps), marks)
    assert 0 < store.table.success.sum() < len(episodes)


def test_noise_is_that_of_the_published_data(episodes):
    aims = np.array([[1.0, 0.0], [0.0, -1.0]])  # corridors are walked along in one direction or another
    noise = np.random.default_rng(0).normal(0, 0.5, (100_000, 1, 2))
    expected = (np.abs(np.clip(aims + noise, -1, 1)) == 1).mean()
    found = (np.abs(np.concatenate([episode.actions for episode in episodes])) == 1).mean()
    assert found == pytest.approx(expected, abs=0.03)


def test_few_episodes_hold_the_whole_route_and_together_they_hold_its_parts(shown, episodes):
    raw = shown.env.unwrapped
    seen = [[raw.xy_to_ij(place) for place in episode.extras["qpos"]] for episode in episodes]
    whole = [
        START in way and episode.extras["terminal"][way.index(START) :].any()
        for way, episode in zip(seen, episodes)
    ]
    assert sum(whole) <= 2
    assert len(set().union(*map(set, seen))) >= 0.9 * len(cells(raw.maze_map))


def test_an_episode_is_a_function_of_the_seed_and_begins_anywhere(shown, episodes):
    again = demonstrate(shown, 0, 1, "navigate", noise=0.5)
    np.testing.assert_array_equal(again.actions, episodes[1].actions)
    np.testing.assert_array_equal(again.obs, episodes[1].obs)
    assert len({tuple(np.round(episode.obs[0], 3)) for episode in episodes}) == len(episodes)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("pointmaze-medium-v0", "pointmaze-medium-navigate-singletask-v0"),
        ("pointmaze-large-navigate-v0", "pointmaze-large-navigate-singletask-v0"),
        ("pointmaze-medium-navigate-singletask-task3-v0", "pointmaze-medium-navigate-singletask-task3-v0"),
    ],
)
def test_data_names_the_task_that_its_rewards_are_of(name, task):
    assert make_demonstration(f"ogbench:{name}").name == f"ogbench:{task}"
