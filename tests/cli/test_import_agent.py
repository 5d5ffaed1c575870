"""import-agent: files in the public layout become a run that evaluates and fine-tunes."""

import json
from pathlib import Path

import pytest
import torch
from public_weights import plain_dql, save
from small_runs import settings, write_store

from trajrl.cli.main import dispatch
from trajrl.envs import make_suite
from trajrl.training.run_dir.load_run import load_run


@pytest.fixture
def files(tmp_path):
    suite = make_suite("toy:point")
    torch.manual_seed(0)
    agent = plain_dql.PlainDQL(suite.obs_dim, suite.action_dim, plain_dql.Settings(), 5, width=16)
    return agent, save(agent, tmp_path, layout="middle")


def bring_in(files, out, *more: str) -> int:
    words = ["import-agent", "diffusion_ql", "--actor", str(files[0]), "--critic", str(files[1])]
    return dispatch([*words, "--env", "toy:point", "--out", str(out), *more])


def test_the_run_acts_with_the_imported_weights(files, tmp_path):
    agent, paths = files
    assert bring_in(paths, tmp_path / "run") == 0
    loaded = load_run(tmp_path / "run").agent()
    mine = loaded.state_dict()["actor"]
    theirs = agent.actor.state_dict()["model.mid_layer.0.weight"]
    assert torch.equal(mine["denoiser.net.layers.0.weight"], theirs)


def test_the_run_evaluates(files, tmp_path, capsys):
    bring_in(files[1], tmp_path / "run")
    capsys.readouterr()
    assert dispatch(["evaluate", str(tmp_path / "run"), "--env", "Pendulum-v1"]) == 1
    assert "numbers; Pendulum-v1 has (3, 1)" in capsys.readouterr().err.splitlines()[-1]
    assert dispatch(["evaluate", str(tmp_path / "run"), "--episodes", "3", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(answer["returns"]) == 3
    assert answer["environment"] == "toy:point"
    assert set(answer) >= {"return_mean", "score_mean", "success_mean", "score_name"}


def test_the_run_fine_tunes(files, tmp_path):
    bring_in(files[1], tmp_path / "run")
    data = write_store(tmp_path / "point.h5")
    words = ["offline", "--resume", "--out", str(tmp_path / "run"), "--data", str(data), "--steps", "12"]
    own = [s for s in settings("diffusion_ql") if not s.startswith("agent.")]
    assert dispatch([*words, "--batch-size", "8", "--set", *own]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["steps"] == 12
    assert load_run(tmp_path / "run").step("last") == 12


def test_the_wrong_environment_is_one_line(files, tmp_path, capsys):
    words = ["import-agent", "diffusion_ql", "--actor", str(files[1][0]), "--critic", str(files[1][1])]
    assert dispatch([*words, "--env", "Hopper-v5", "--out", str(tmp_path / "run")]) == 1
    assert "give the environment it was trained in" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_no_checkpoint_is_one_line(files, tmp_path, capsys):
    (tmp_path / "actor.pth").write_bytes(b"not weights")
    assert bring_in(files[1], tmp_path / "run") == 1
    assert "actor.pth" in capsys.readouterr().err
    torch.save({"x": Path("code")}, tmp_path / "actor.pth")
    assert bring_in(files[1], tmp_path / "run") == 1
    said = capsys.readouterr().err
    assert "holds more than tensors; nothing in it was executed" in said
    assert "weights_only" not in said


def test_an_agent_and_seed_cannot_change_on_resume(files, tmp_path, capsys):
    bring_in(files[1], tmp_path / "run")
    assert dispatch(["offline", "--resume", "--out", str(tmp_path / "run"), "--agent", "bc_diffusion"]) == 1
    assert "cannot change" in capsys.readouterr().err


def test_it_goes_online_from_data_that_is_given_then(files, tmp_path, capsys):
    bring_in(files[1], tmp_path / "run")
    words = ["online", "--from", str(tmp_path / "run"), "--env-steps", "12", "--out", str(tmp_path / "on")]
    own = ["learning_starts=5", "warmup_steps=8", "eval_episodes=1", "last_eval_episodes=1", "env_timeout=0"]
    assert dispatch([*words, "--set", *own]) == 1
    assert "names no data to learn from; give --data" in capsys.readouterr().err.splitlines()[-1]
    data = str(write_store(tmp_path / "point.h5"))
    assert dispatch([*words, "--data", data, "--batch-size", "8", "--set", *own]) == 0
