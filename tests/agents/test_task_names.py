"""Published rows are found by every spelling of a task, and a run says which it took."""

import pytest
from small_runs import settings, write_store

from trajrl.agents import acfql, diffusion_ql, iql, rebrac
from trajrl.agents.presets.task_names import ROW, fits, task_name
from trajrl.cli.main import dispatch
from trajrl.training.resolve_config import resolve_config

NAMES = {
    "d4rl:hopper-random-v2": "hopper-random-v2",
    "minari:D4RL/pen/human-v2": "pen-human-v2",
    "D4RL/pen/human-v2": "pen-human-v2",
    "minari:mujoco/hopper/medium-v0": "hopper-medium-v0",
    "minari:D4RL/antmaze/large-play-v1": "antmaze-large-play-v1",
    "ogbench:cube-single-play-singletask-v0": "cube-single-play-singletask-v0",
    "antmaze-umaze-v2": "antmaze-umaze-v2",
    "bandit:rings": "bandit:rings",
    "data/mine/x.h5": "data/mine/x.h5",
}


@pytest.mark.parametrize("env", NAMES)
def test_a_task_has_one_name(env):
    assert task_name(env) == NAMES[env]


@pytest.mark.parametrize(
    ("agent", "env", "field", "value"),
    [
        (diffusion_ql, "minari:mujoco/hopper/medium-v0", "run.select_rank", 2),
        (diffusion_ql, "d4rl:antmaze-large-play-v2", "eta", 4.5),
        (diffusion_ql, "minari:D4RL/antmaze/large-play-v1", "run.eval_episodes", 100),
        (diffusion_ql, "minari:D4RL/pen/human-v2", "eta", 0.15),
        (iql, "minari:D4RL/pen/human-v2", "beta", 0.5),
        (rebrac, "d4rl:hopper-random-v2", "critic_beta", 0.5),
        (rebrac, "minari:mujoco/hopper/medium-v0", "critic_beta", 0.001),
    ],
)
def test_a_published_row_is_found_by_every_spelling(agent, env, field, value):
    found = agent.preset("paper", env)
    assert found[field] == value
    assert fits(env, found[ROW])


@pytest.mark.parametrize(
    ("env", "steps", "reward"),
    [
        ("d4rl:antmaze-umaze-v2", 500_000, "iql_antmaze"),
        ("minari:D4RL/antmaze/large-play-v1", 500_000, "iql_antmaze"),
        ("d4rl:pen-expert-v1", 500_000, "no"),
        ("ogbench:antmaze-large-navigate-singletask-v0", 1_000_000, "no"),
    ],
)
def test_fql_on_d4rl_has_its_steps_and_rewards(env, steps, reward):
    config = resolve_config({"agent": "acfql", "env": env, "data": "x.h5", "preset": "fql"})
    assert (config.steps, config.reward) == (steps, reward)
    assert "run.published" not in acfql.PRESETS["fql"]


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        ("iql", "--preset paper of iql: no published row for toy:point: the settings of the method"),
        ("sac", "--preset paper of sac: no published row for toy:point: the settings of the method"),
    ],
)
def test_a_run_says_before_it_trains_that_it_has_no_published_row(agent, said, tmp_path, capsys):
    data = write_store(tmp_path / "x.h5", 3)
    words = ["offline", "--data", str(data), "--env", "toy:point", "--agent", agent, "--preset", "paper"]
    quick = settings(agent, eval_every=0, steps=1, batch_size=4)
    assert dispatch([*words, "--out", str(tmp_path / "a"), "--set", *quick]) == 0
    assert capsys.readouterr().out.splitlines()[0] == said


def test_the_demo_and_the_standard_settings_say_nothing_of_rows(tmp_path, capsys):
    data = write_store(tmp_path / "x.h5", 3)
    words = ["offline", "--data", str(data), "--agent", "iql", "--preset", "standard"]
    quick = settings("iql", eval_every=0, steps=1, batch_size=4)
    assert dispatch([*words, "--out", str(tmp_path / "a"), "--set", *quick]) == 0
    assert "published" not in capsys.readouterr().out
