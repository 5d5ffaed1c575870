"""Options of an environment, as set by a user: in config.json, in every rollout and in what is learned."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_runs import settings, write_store

from trajrl import TrajectoryStore, load_run
from trajrl.cli.main import dispatch
from trajrl.envs.base.wrappers import EnvOptions
from trajrl.store.episode import Episode
from trajrl.store.file.writer import StoreWriter
from trajrl.training import build, data, loop
from trajrl.training.resolve_config import resolve_config
from trajrl.training.run_dir.folder import describe_run, new_folder


def trained(folder, data, *words, env=""):
    """Train a few steps with options of the environment and return the run."""
    chosen = {"data": str(data), "agent": "td3_bc", "steps": 10, "phase": "offline"}
    chosen |= {"env": env} if env else {}
    config = resolve_config(chosen, [*settings("td3_bc"), *words])
    run = build.build(config, new_folder(config, str(folder)))
    describe_run(folder, run.config, run.store)
    loop.offline(run)
    return run


def test_every_option_is_stated_in_the_config_and_holds_in_every_rollout(tmp_path, capsys):
    data = write_store(tmp_path / "x.h5", 4)
    trained(tmp_path / "run", data, "env.time_limit=7", "env.reward_shift=-2.5")
    kept = json.loads((tmp_path / "run" / "config.json").read_text())["env_options"]
    assert set(kept) == set(vars(EnvOptions()))
    assert (kept["time_limit"], kept["reward_shift"], kept["actions"]) == (7, -2.5, "scale")
    assert load_run(tmp_path / "run").suite().options == EnvOptions(time_limit=7, reward_shift=-2.5)
    words = ["evaluate", str(tmp_path / "run"), "--episodes", "2", "--json"]
    assert dispatch(words) == 0
    returns = json.loads(capsys.readouterr().out.splitlines()[-1])["returns"]
    assert all(-7 <= value <= 0 for value in returns)  # what is reported is not shifted
    assert dispatch([*words, "--set", "env.time_limit=2"]) == 0
    returns = json.loads(capsys.readouterr().out.splitlines()[-1])["returns"]
    assert all(-2 <= value <= 0 for value in returns)


def test_a_policy_is_evaluated_as_it_would_act_with_other_options(tmp_path, capsys):
    data = write_store(tmp_path / "x.h5", 4)
    trained(tmp_path / "run", data)
    run = load_run(tmp_path / "run")
    obs = np.ones(run.suite().obs_dim, np.float32)
    assert run.agent(explore_noise=0.7).config.explore_noise == 0.7
    np.testing.assert_array_equal(run.policy().act(obs), run.policy().act(obs))
    words = ["evaluate", str(tmp_path / "run"), "--episodes", "2"]
    assert dispatch([*words, "--set", "agent.explore_noise=0.7"]) == 0
    for setting, printed in (
        ("agent.width=7", "other networks than agent.width"),
        ("agent.explor_noise=1", "explore_noise"),
        ("eval_every=3", "'eval_every' is of training"),
        ("sampler.clusters=3", "'clusters' is of training"),
    ):
        capsys.readouterr()
        assert dispatch([*words, "--set", setting]) == 1
        assert printed in capsys.readouterr().err


def test_what_is_learned_from_is_shifted(tmp_path):
    data = write_store(tmp_path / "x.h5", 2)
    run = trained(tmp_path / "run", data, "env.reward_shift=-2.5")
    import torch

    assert torch.equal(run.store.shape_reward(torch.tensor([1.0])), torch.tensor([-1.5]))


def test_hidden_velocities_are_hidden_from_the_data_too(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "hopper.h5"
    with StoreWriter(path, {"environment": "Hopper-v4"}) as writer:
        for _ in range(3):
            obs = rng.standard_normal((9, 11)).astype(np.float32)
            writer.append(Episode(obs, rng.uniform(-1, 1, (8, 3)), np.ones(8), True))
    whole = TrajectoryStore.open(path)
    run = trained(tmp_path / "run", path, "env.observe=positions", "env.time_limit=5", "eval_episodes=1")
    assert run.store.obs_dim == run.suite.obs_dim == run.agent.obs_dim == 5
    np.testing.assert_array_equal(run.store.episode(1).obs, whole.episode(1).obs[:, :5])
    again = data.open_data(run.config)
    data.find_suite(run.config, again)
    np.testing.assert_array_equal(again.episode(2).obs, run.store.episode(2).obs)
    assert load_run(tmp_path / "run").suite().obs_dim == 5


@pytest.mark.parametrize("word", ["env_timeout=7", "env.env_timeout=7"])
def test_an_environment_apart_is_had_by_either_name_offline(tmp_path, word):
    path = write_store(tmp_path / "x.h5", 2)
    config = resolve_config({"data": str(path), "agent": "td3_bc", "phase": "offline"}, [word])
    assert data.find_suite(config, data.open_data(config)).options.env_timeout == 7


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("env.time_limt=3", "did you mean 'time_limit'"),
        ("env.observe=velocities", "no value of observe"),
        ("env.frame_skip=half", "takes a whole number"),
        ("env.arguments=half", "takes names and values as in "),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, capsys, word, said):
    data = write_store(tmp_path / "x.h5", 2)
    out = ["--out", str(tmp_path / "run"), "--set", word, *settings("td3_bc")]
    assert dispatch(["offline", "--data", str(data), "--agent", "td3_bc", "--steps", "5", *out]) == 1
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_only_where_it_is_scored_as_before(tmp_path, capsys, monkeypatch):
    data = write_store(tmp_path / "x.h5", 4, "sample_envs:line")
    trained(tmp_path / "run", data)
    rows = (tmp_path / "run" / "evals.csv").read_text()
    entry = {"random": {"return_mean": 0}, "expert": {"return_mean": 1}}
    (tmp_path / "r.json").write_text(json.dumps({"environments": {"sample_envs:line": entry}}))
    words = ["offline", "--resume", "--out", str(tmp_path / "run"), "--steps", "20"]
    with monkeypatch.context() as inside:
        inside.setenv("TRAJRL_REFERENCES", str(tmp_path / "r.json"))
        assert dispatch(words) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "scored as none, and here it would be as sample_envs:line (random and expert of r.json)" in said
    assert (tmp_path / "run" / "evals.csv").read_text() == rows
    from trajrl.training.run_dir.folder import _locks

    _locks.pop().close()  # what the end of that process would have done
    assert dispatch(words) == 0
