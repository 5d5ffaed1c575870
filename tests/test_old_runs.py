"""Runs made before options, metrics and modules were renamed resume, continue online, report and export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trajrl import load_run
from trajrl.cli.main import dispatch
from trajrl.core.old_names import flag, metric, option, options
from trajrl.training.config import RunConfig
from trajrl.training.run_dir import folder
from trajrl.training.settings import split_settings

OLD = Path(__file__).parent / "fixtures" / "made_at_0_1"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a folder with copies of the old runs, as the working folder."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    while folder._locks:
        folder._locks.pop().close()


def test_the_runs_have_the_old_names():
    assert "online/judgement/auroc" in (OLD / "online" / "metrics.csv").read_text()
    assert "learn_after" in json.loads((OLD / "online" / "config.json").read_text())


@pytest.mark.parametrize(("options", "judge"), [
    ({"clusters": 3, "fraction_end": 0.5}, "critic"),
    ({"clusters": 3, "fraction_end": 0.5, "judge": "trajectory"}, "trajectory"),
    ({"clusters": 3}, None),  # of somebody's --config: the rest is by default
])  # fmt: skip
def test_a_stratified_run_of_before_is_judged_and_learns_as_it_did(tmp_path, options, judge):
    config = {"agent": "stratified_ql", "agent_options": options}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = RunConfig.load(tmp_path / "config.json").agent_options
    assert found.get("judge") == judge
    before = (1.0, "noise") if judge else (None, None)
    assert (found.get("second_q"), found.get("second_predicts")) == before


@pytest.mark.parametrize(("agent", "doubt", "left"), [
    ("trajectory_ql", 0.0, False), ("trajectory_ql", 2.0, True), ("acfql", 0.0, True),
])  # fmt: skip
def test_an_option_that_is_no_more_is_left_out_where_it_did_nothing(tmp_path, agent, doubt, left):
    config = json.loads((OLD / "online" / "config.json").read_text())
    config |= {"agent": agent, "agent_options": {"candidates": 3, "doubt": doubt}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = RunConfig.load(tmp_path / "config.json", trust=True).agent_options
    assert found == {"candidates": 3, **({"doubt": doubt} if left else {})}


def test_an_old_config_has_the_present_options():
    config = RunConfig.load(OLD / "online" / "config.json")
    assert (config.learning_starts, config.env_timeout, config.env_options["env_timeout"]) == (20, 0.0, 0.0)


@pytest.mark.parametrize(
    ("old", "present"),
    [
        ("--learn-after=5", "--learning-starts=5"), ("--patience", "--env-timeout"), ("--steps", "--steps"),
        ("learn-after", "learn-after"),
    ],
)  # fmt: skip
def test_an_old_flag_is_read_as_the_present_one(old, present):
    assert flag(old) == present


def test_old_options_and_columns_have_present_names():
    assert options({"patience": 1, "seed": 2}) == {"env_timeout": 1, "seed": 2}
    assert options({"learn_after": 1, "learning_starts": 2}) == {"learning_starts": 2}
    assert option("steps") == "steps"
    assert metric("offline/judgement/auroc") == "offline/diagnostics/auroc"
    assert metric("online/dip/dip") == "online/finetune/drop"
    assert metric("online/handover/rows") == "online/sampler_share/rows"
    assert metric("step") == "step"
    assert metric("offline/critic/loss") == "offline/critic/loss"


def test_an_old_setting_is_read_as_the_present_one():
    found = split_settings(["learn_after=7", "env.patience=3"])
    assert found["run"] == {"learning_starts": "7"}
    assert found["env"] == {"env_timeout": "3"}


def test_an_old_offline_run_resumes_and_continues_its_table(place):
    before = pd.read_csv("offline/metrics.csv")
    assert dispatch(["offline", "--resume", "--out", "offline", "--steps", "30"]) == 0
    rows = pd.read_csv("offline/metrics.csv")
    assert rows.step.tolist() == [*before.step, 25, 30]
    assert rows["offline/diagnostics/auroc"].notna().all()
    assert not [name for name in rows if "judgement" in name]
    column = "offline/judgement/auroc"
    assert rows["offline/diagnostics/auroc"][: len(before)].tolist() == before[column].tolist()


def test_an_old_online_run_resumes(place):
    words = ["online", "--resume", "--out", "online", "--env-steps", "160"]
    assert dispatch(words) == 0
    found = json.loads(Path("online/summary.json").read_text())["online"]
    assert found["env_steps"] == 160
    assert {"drop", "regret", "sampler_share"} <= set(found)
    assert not [name for name in pd.read_csv("online/metrics.csv") if "/dip/" in name or "handover" in name]


def test_a_new_online_run_starts_from_an_old_offline_one(place):
    words = ["--env-steps", "40", "--learn-after", "10", "--warmup-steps", "20", "--patience", "0"]
    quick = ["eval_every=0", "last_eval_episodes=1", "eval_episodes=1", "log_every=20"]
    assert dispatch(["online", "--from", "offline", "--out", "new", *words, "--set", *quick]) == 0
    assert RunConfig.load(Path("new/config.json")).learning_starts == 10


@pytest.mark.parametrize(("run", "which"), [("offline", "last"), ("online", "best"), ("online", "selected")])
def test_an_old_policy_evaluates(place, run, which, capsys):
    words = ["evaluate", run, "--episodes", "2", "--envs", "2", "--checkpoint", which, "--json"]
    assert dispatch(words) == 0
    assert len(json.loads(capsys.readouterr().out.splitlines()[-1])["returns"]) == 2


def test_old_runs_report(place):
    assert dispatch(["report", "offline", "online", "--out", "report.html"]) == 0
    assert "auroc" in Path("report.html").read_text().lower()


@pytest.mark.slow
def test_an_old_policy_exports_and_acts(place):
    assert dispatch(["export", "online", "--format", "torch", "--out", "policy.pt2"]) == 0
    policy = load_run("online").policy()
    policy.reset(n=2)
    dims = load_run("online").agent("last")
    assert policy.act(np.zeros((2, dims.obs_dim), np.float32)).shape == (2, dims.action_dim)
