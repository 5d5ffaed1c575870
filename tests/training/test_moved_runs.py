"""A run made with relative paths is resumed, reported and exported from anywhere, and after a move."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import settings, write_store

from trajrl.cli.main import dispatch
from trajrl.training.config import RunConfig
from trajrl.training.run_dir import folder
from trajrl.training.run_dir.load_run import load_run
from trajrl.training.run_dir.moved import beside


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder that holds data/x.h5 and runs/a, which was made in it by relative paths."""
    place = tmp_path_factory.mktemp("made")
    (place / "data").mkdir()
    write_store(place / "data" / "x.h5", 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        words = ["--data", "data/x.h5", "--agent", "td3_bc", "--steps", "4", "--out", "runs/a"]
        assert dispatch(["offline", *words, "--set", *settings("td3_bc", batch_size=8, eval_every=0)]) == 0
    let_go()
    return place


@pytest.fixture(autouse=True)
def let_go_after():
    yield
    let_go()


def let_go():
    while folder._locks:
        folder._locks.pop().close()


def make_old(run: Path) -> None:
    """Write a run's config as it was before paths were absolute."""
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "data": "data/x.h5"}))


def test_a_run_keeps_the_absolute_path_of_its_data(made):
    assert json.loads((made / "runs/a/config.json").read_text())["data"] == str(made / "data/x.h5")


@pytest.mark.parametrize("moved", [False, True], ids=["there", "moved"])
@pytest.mark.parametrize("old", [False, True], ids=["absolute", "relative"])
def test_it_resumes_from_another_folder(made, tmp_path, monkeypatch, moved, old):
    place = shutil.copytree(made, tmp_path / "b")
    if old:
        make_old(place / "runs/a")
    if moved:
        hidden = made.rename(made.with_name("hidden"))
    try:
        (tmp_path / "c").mkdir()
        monkeypatch.chdir(tmp_path / "c")
        assert dispatch(["offline", "--resume", "--out", "../b/runs/a", "--steps", "5"]) == 0
    finally:
        if moved:
            hidden.rename(made)
    there = place if moved or old else made
    assert json.loads((place / "runs/a/config.json").read_text())["data"] == str(there / "data/x.h5")


def test_other_data_that_lies_there_is_refused_by_its_fingerprint(made, tmp_path, capsys):
    place = shutil.copytree(made, tmp_path / "b")
    make_old(place / "runs/a")
    write_store(place / "data/x.h5", 7)
    assert dispatch(["offline", "--resume", "--out", str(place / "runs/a"), "--steps", "5"]) == 1
    assert "is not the data that" in capsys.readouterr().err


def test_its_data_is_found_for_every_reader(made, tmp_path, monkeypatch, capsys):
    place = shutil.copytree(made, tmp_path / "b")
    make_old(place / "runs/a")
    monkeypatch.chdir(tmp_path)
    assert load_run("b/runs/a").config.data == str(place / "data/x.h5")
    assert "data/x.h5 is not here" in capsys.readouterr().out
    words = ["export", "b/runs/a", "--format", "torch", "--windows", "2", "--out", "p.pt2"]
    assert dispatch(words) == 0


def test_a_name_is_no_file_beside_a_run(tmp_path):
    (tmp_path / "hopper-medium-v2" / "runs" / "a").mkdir(parents=True)
    path = tmp_path / "hopper-medium-v2" / "runs" / "a" / "config.json"
    for data in ("hopper-medium-v2", "none", "https://host/config.json", "/nowhere/y.h5"):
        replace(RunConfig(), data=data).save(path)
        assert RunConfig.load(path).data == data


def test_an_online_run_finds_the_run_that_it_came_from(made, tmp_path):
    place = shutil.copytree(made, tmp_path / "b")
    (place / "runs" / "on").mkdir()
    replace(RunConfig(), phase="online", from_run="runs/a").save(place / "runs/on/config.json")
    assert RunConfig.load(place / "runs/on/config.json").from_run == str(place / "runs/a")


def test_longer_endings_come_first():
    places = [str(path) for path in beside("/a/data/x.h5", Path("/b/r"))]
    assert places[:3] == ["/b/r/a/data/x.h5", "/b/a/data/x.h5", "/a/data/x.h5"]
    assert places.index("/b/data/x.h5") < places.index("/b/r/x.h5")


def test_a_policy_is_found_after_an_environment_changed_the_folder(made, tmp_path, monkeypatch):
    (tmp_path / "wanders.py").write_text(
        "import os\nfrom trajrl.envs import make_suite\n"
        "def make(**k):\n    os.chdir('/')\n    return make_suite('toy:point').make(0)\n"
    )
    shutil.copytree(made / "runs/a", tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    words = ["--env", "wanders:make", "--policy", "a", "--steps", "5", "--envs", "1", "--out", "y.h5"]
    assert dispatch(["collect", *words]) == 0
    assert (tmp_path / "y.h5").exists()
