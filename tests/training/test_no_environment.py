"""--env none: data whose environment is not here is learned from, resumed, exported and reported."""

import json
import sys

import pytest
from foreign import hdf5, robomimic
from small_runs import settings

from trajrl.cli.main import dispatch
from trajrl.training.run_dir import folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return robomimic data of a task that needs robosuite."""
    arguments = json.dumps({"env_name": "Lift", "env_kwargs": {}})
    path = tmp_path_factory.mktemp("data") / "lift.hdf5"
    return hdf5(path, robomimic({f"demo_{e}": 9 for e in range(4)}), {"data@env_args": arguments})


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """Return an offline run of that data, resumed once."""
    out = tmp_path_factory.mktemp("runs") / "run"
    words = ["--data", str(data), "--env", "none", "--agent", "td3_bc", "--out", str(out), "--steps", "4"]
    assert dispatch(["offline", *words, "--set", *settings("td3_bc", batch_size=8, eval_every=2)]) == 0
    while folder._locks:
        folder._locks.pop().close()
    assert dispatch(["offline", "--resume", "--out", str(out), "--steps", "6"]) == 0
    return out


def test_without_robosuite_the_line_names_env_none(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "robosuite", None)
    monkeypatch.setattr("trajrl.envs.robomimic.find_spec", lambda name: None)
    assert dispatch(["offline", "--data", str(data), "--out", str(tmp_path / "x")]) == 1
    assert "--env none trains without one" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_run_without_an_environment_has_no_scores_and_is_selected(run):
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 6
    assert summary["scores"] is None
    assert summary["selected_step"] in (2, 4, 6)


def test_it_is_exported_and_reported(run, tmp_path):
    words = ["export", str(run), "--format", "torch", "--windows", "2", "--out", str(tmp_path / "p.pt2")]
    assert dispatch(words) == 0
    assert dispatch(["report", str(run), "--out", str(tmp_path / "report.html")]) == 0
    assert "no environment" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(("words", "reason"), [
    (["evaluate", "RUN"], "was trained without an environment; give --env"),
    (["evaluate", "RUN", "--env", "none"], "--env none gives none"),
    (["online", "--from", "RUN", "--out", "OUT"], "give --env"),
    (["collect", "--env", "none", "--policy", "random", "--out", "OUT"], "--env none stands for no env"),
])  # fmt: skip
def test_what_acts_refuses(words, reason, run, tmp_path, capsys):
    named = {"RUN": str(run), "OUT": str(tmp_path / "x.h5")}
    assert dispatch([named.get(word, word) for word in words]) == 1
    assert reason in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_its_report_says_that_there_is_nothing_to_film(run, tmp_path):
    assert dispatch(["report", str(run), "--out", str(tmp_path / "report.html")]) == 0
    text = (tmp_path / "report.html").read_text()
    assert "the videos could not be shown: the run has no environment" in text
    assert "no evaluation yet" not in text


def test_the_phase_is_the_commands_and_not_set(data, tmp_path, capsys):
    words = ["--data", str(data), "--env", "none", "--out", str(tmp_path / "x"), "--set", "phase=online"]
    assert dispatch(["offline", *words]) == 1
    assert "--set phase=online: the phase is the command's" in capsys.readouterr().err


def test_seeds_without_an_environment_end_with_a_table_that_has_no_scores(data, tmp_path, capsys):
    words = ["--data", str(data), "--env", "none", "--agent", "td3_bc", "--out", str(tmp_path / "two")]
    sets = settings("td3_bc", batch_size=8, eval_every=2)
    assert dispatch(["offline", *words, "--seeds", "2", "--steps", "4", "--json", "--set", *sets]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [one["scores"] for one in found["runs"]] == [None, None]
