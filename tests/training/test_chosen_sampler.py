"""`--sampler auto`: the run is that of the sampler which the data asks for, and it says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from same_run import assert_same_run
from small_runs import reopened, small_run, trained, write_store

from trajrl.cli.main import dispatch
from trajrl.training import loop
from trajrl.training.config import RunConfig
from trajrl.training.run_dir import folder

SHORT = ["--agent", "td3_bc", "--steps", "8", "--set", "eval_every=8", "eval_episodes=1",
         "last_eval_episodes=1", "agent.width=8", "batch_size=8"]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


def test_the_run_is_that_of_the_named_sampler(store, tmp_path):
    trained(tmp_path / "auto", store, agent="td3_bc", sampler="auto")
    config = RunConfig.load(tmp_path / "auto" / "config.json")
    choice = json.loads((tmp_path / "auto" / "sampler_choice.json").read_text())
    assert (config.sampler, config.sampler_options) == (choice["sampler"], choice["options"])
    assert config.sampler != "auto"
    summary = json.loads((tmp_path / "auto" / "summary.json").read_text())
    assert summary["sampler_choice"] == choice
    assert choice["reason"].startswith("auto draws ")
    changes = {f"sampler.{name}": value for name, value in choice["options"].items()}
    trained(tmp_path / "named", store, agent="td3_bc", sampler=choice["sampler"], **changes)
    (tmp_path / "auto" / "sampler_choice.json").unlink()
    whole = tmp_path / "auto" / "summary.json"
    whole.write_text(json.dumps({k: v for k, v in summary.items() if k != "sampler_choice"}))
    assert_same_run(tmp_path / "auto", tmp_path / "named")


def test_it_resumes_exactly(store, tmp_path):
    trained(tmp_path / "whole", store, agent="td3_bc", sampler="auto")
    run = small_run(tmp_path / "parts", store, agent="td3_bc", sampler="auto")
    for _ in range(9):
        loop.train_step(run)
        loop.after_step(run)
    run.logger.close()
    loop.offline(reopened(tmp_path / "parts"))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_from_the_command_line_the_reason_comes_first_and_auto_may_be_said_again(store, tmp_path, capsys):
    words = ["offline", "--data", str(store), "--sampler", "auto", "--out", str(tmp_path / "run"), *SHORT]
    assert dispatch(words) == 0
    said = capsys.readouterr().out
    assert said.index("auto draws ") < said.index("step ")
    while folder._locks:  # a command holds them until its process ends
        folder._locks.pop().close()
    again = ["offline", "--resume-or-start", "--data", str(store), "--sampler", "auto", "--out",
             str(tmp_path / "run"), "--agent", "td3_bc", "--steps", "10"]  # fmt: skip
    assert dispatch(again) == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 10


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ["offline", "--sampler", "auto", "--set", "sampler.ess=0.3"],
            "chooses the options too; leave ess out",
        ),
        (["online", "--sampler", "auto"], "name a sampler for the online phase"),
        (["offline", "--sampler", "policy=auto", "values=uniform"], "auto"),
    ],
)
def test_what_it_cannot_do_is_one_line(store, tmp_path, capsys, words, reason):
    source = ["--data", str(store)] if words[0] == "offline" else ["--from", str(tmp_path)]
    if words[0] == "online":
        trained(tmp_path / "run", store, agent="td3_bc")
        capsys.readouterr()
        source = ["--from", str(tmp_path / "run")]
    assert dispatch([*words[:1], *source, "--out", str(tmp_path / "new"), *words[1:]]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "config.json" not in error
    assert reason in error
    assert not (tmp_path / "new").exists()


def test_every_field_is_explained_but_those_it_chooses(store, capsys):
    assert dispatch(["offline", "--data", str(store), "--sampler", "auto", "--help-config"]) == 0
    assert "sampler." not in capsys.readouterr().out
