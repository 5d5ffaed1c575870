"""Runs and data call nothing: names of the form module:attr are typed, marked or trusted."""

import json
import os
import shutil
from dataclasses import replace

import pytest
from small_runs import settings, trained, write_store

from trajrl import load_run
from trajrl.cli.main import dispatch
from trajrl.core import owner_key, trust
from trajrl.store.file.hdf5 import write_attributes
from trajrl.training.config import RunConfig
from trajrl.training.run_dir import folder

CANARY = """
from pathlib import Path
Path({sang!r}).touch()
from trajrl.agents.td3_bc import *
from trajrl.samplers.uniform import *
from sample_envs import *
def leave(): raise SystemExit(0)
"""
PLACES = {
    "env": {"env": "canary:line"},
    "arguments": {"env": "canary:line", "env_options": {"arguments": {"length": 3}}},
    "agent": {"agent": "canary:TD3BC"},
    "sampler": {"sampler": "canary:UniformSampler"},
    "part": {"sampler": "uniform*canary:UniformSampler"},
    "option": {"sampler": "product", "sampler_options": {"left": "canary:UniformSampler", "right": "top"}},
    "offline_sampler": {"offline_sampler": "canary:UniformSampler"},
    "format": {"format": "canary:line"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def let_go():
    """Give back locks, and what this process was allowed."""
    yield
    while folder._locks:
        folder._locks.pop().close()
    trust._known[:] = [trust.Known()]


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """Return the file that appears when the module canary is imported."""
    sang = tmp_path / "sang"
    (tmp_path / "canary.py").write_text(CANARY.format(sang=str(sang)))
    monkeypatch.syspath_prepend(tmp_path)
    yield sang
    import sys

    sys.modules.pop("canary", None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder of a run and its data."""
    place = tmp_path_factory.mktemp("made")
    data = write_store(place / "x.h5", 4, "toy:point")
    trained(place / "run", data, agent="td3_bc", sampler="uniform", steps=4)
    return place


@pytest.fixture
def foreign(made, tmp_path):
    """Return a run that came from elsewhere, and what changes its config."""
    shutil.copytree(made / "run", tmp_path / "run")

    def change(**changes):
        path = tmp_path / "run" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return tmp_path / "run"

    return change


DOORS = {
    "report": ["report", "RUN", "--out", "OUT.html"],
    "evaluate": ["evaluate", "RUN", "--episodes", "1"],
    "export": ["export", "RUN", "--format", "torch", "--windows", "1", "--out", "OUT.pt2"],
    "resume": ["offline", "--resume", "--out", "RUN", "--steps", "6"],
    "config": ["offline", "--config", "RUN/config.json", "--out", "OUT"],
    "from": ["online", "--from", "RUN", "--env-steps", "4", "--out", "OUT"],
    "policy": ["collect", "--env", "toy:point", "--policy", "RUN", "--steps", "4", "--out", "OUT.h5"],
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("place", PLACES)
def test_no_canary_sings_out_of_a_run(door, place, foreign, canary, tmp_path, capsys):
    run = foreign(**PLACES[place])
    words = [word.replace("RUN", str(run)).replace("OUT", str(tmp_path / "out")) for word in DOORS[door]]
    code = dispatch(words)
    said = capsys.readouterr()
    assert not canary.exists()
    assert "which would call " in said.err + said.out
    assert code == (0 if door == "report" else 1)  # the report says it, and shows the rest


ODD = (
    "canary:",
    "canary::Agent",
    "package.canary::x",
    "canary:a:b",
    "a=canary:c",
    "a,canary:c",
    ":x",
    "canary:a b",
)


@pytest.mark.parametrize("field", ["agent", "sampler", "env", "metric"])
@pytest.mark.parametrize("name", ODD)
def test_whatever_has_a_colon_and_is_no_suite_is_a_call_for_all_that_ask(
    field, name, foreign, canary, capsys
):
    run = foreign(**{field: name})
    with pytest.raises(ValueError, match=r"which would (call|import)"):
        load_run(run)
    assert dispatch(["evaluate", str(run), "--episodes", "1"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"{run / 'config.json'} names the {'environment' if field == 'env' else field} '{name}'" in line
    assert not canary.exists()


@pytest.mark.parametrize("name", ["canary:", "canary::Agent"])
def test_a_program_or_a_command_that_names_half_a_call_imports_nothing(name, made, canary, capsys):
    from trajrl import make_agent

    with pytest.raises(ValueError, match="MODULE:NAME"):
        make_agent(name, 2, 1)
    assert dispatch(["evaluate", str(made / "run"), "--env", name, "--episodes", "1"]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_link_to_a_marked_config_is_not_marked(made, canary, tmp_path, capsys):
    assert offline(tmp_path, made / "x.h5") == 0
    shutil.copytree(tmp_path / "mine", tmp_path / "linked")
    (tmp_path / "linked" / "config.json").unlink()
    (tmp_path / "linked" / "config.json").symlink_to(tmp_path / "mine" / "config.json")
    canary.unlink()
    __import__("sys").modules.pop("canary")
    assert dispatch(["evaluate", str(tmp_path / "linked"), "--episodes", "1"]) == 1
    assert "which would call TD3BC of the Python module canary" in capsys.readouterr().err
    assert not canary.exists()


@pytest.mark.parametrize("name", ["canary:line", "canary:", "canary::line", "os:abort"])
def test_no_canary_sings_out_of_a_kept_policy(name, foreign, canary, capsys):
    run = foreign()
    for facts in run.glob("checkpoints/policy-*/facts.json"):
        facts.write_text(facts.read_text().replace("toy:point", name))
        (facts.parent / "whole.json").unlink()  # as versions before wrote them
    assert dispatch(["evaluate", str(run), "--episodes", "1"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"a policy kept in {run} names the environment '{name}', which would " in line
    assert not canary.exists()


@pytest.mark.parametrize("name", ["canary:line", "os:abort", "builtins:exit", "subprocess:run"])
def test_no_canary_sings_out_of_data(name, made, canary, tmp_path, capsys):
    import h5py

    data = shutil.copy(made / "x.h5", tmp_path / "x.h5")
    with h5py.File(data, "r+") as file:
        write_attributes(file, {"environment": name})
    words = ["--data", str(data), "--out", str(tmp_path / "out"), "--steps", "2"]
    assert dispatch(["offline", *words]) == 1
    assert f"{data} names the environment '{name}', which would call" in capsys.readouterr().err
    assert not canary.exists()
    assert not (tmp_path / "out").exists()


def offline(tmp_path, data, *more):
    words = ["offline", "--data", str(data), "--out", str(tmp_path / "mine"), "--steps", "2", *more]
    return dispatch([*words, "--agent", "canary:TD3BC", "--set", *settings("td3_bc", batch_size=8)])


def test_a_run_made_here_resumes_without_its_names_typed_and_a_copy_or_an_edit_does_not(
    made, canary, tmp_path, capsys
):
    assert offline(tmp_path, made / "x.h5") == 0
    assert canary.exists()
    let = ["offline", "--resume", "--steps", "3", "--out"]
    while folder._locks:
        folder._locks.pop().close()
    assert dispatch([*let, str(tmp_path / "mine")]) == 0
    shutil.copytree(tmp_path / "mine", tmp_path / "copy")
    assert dispatch([*let, str(tmp_path / "copy")]) == 1
    assert "type the name yourself or give --trust" in capsys.readouterr().err
    while folder._locks:
        folder._locks.pop().close()
    assert dispatch([*let, str(tmp_path / "copy"), "--trust"]) == 0  # and is this user's from now on
    config = tmp_path / "mine" / "config.json"
    config.write_text(config.read_text().replace('"steps": 3', '"steps": 4'))
    assert dispatch(["evaluate", str(tmp_path / "mine"), "--episodes", "1"]) == 1


def test_a_name_in_data_counts_where_it_is_typed_and_the_run_keeps_it(made, tmp_path):
    data = write_store(tmp_path / "line.h5", 4, "sample_envs:line")
    words = ["--data", str(data), "--out", str(tmp_path / "run"), "--steps", "2", "--agent", "td3_bc"]
    words += ["--set", *settings("td3_bc", batch_size=8)]
    assert dispatch(["offline", *words]) == 1
    assert dispatch(["offline", *words, "--env", "sample_envs:line"]) == 0
    assert dispatch(["evaluate", str(tmp_path / "run"), "--episodes", "1"]) == 0


def test_a_path_that_looks_like_a_name_is_not_typed(foreign, canary, tmp_path, capsys):
    place = tmp_path / "canary:line"
    shutil.move(foreign(env="canary:line"), place)
    assert dispatch(["evaluate", str(place), "--episodes", "1"]) == 1
    assert not canary.exists()


def test_a_program_is_held_to_the_rule_for_what_it_reads(foreign, canary):
    run = foreign(env="canary:line", agent="canary:TD3BC")
    with pytest.raises(ValueError, match="which would call"):
        load_run(run)
    assert not canary.exists()
    assert load_run(run, trust=True).config.agent == "canary:TD3BC"


def test_code_that_leaves_the_program_is_a_failure(made, canary, capsys):
    assert dispatch(["evaluate", str(made / "run"), "--env", "canary:leave", "--episodes", "1"]) == 1
    assert "canary:leave cannot be made: SystemExit" in capsys.readouterr().err


def test_the_key_is_this_users_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert owner_key.mark_of(tmp_path, b"x") is None
    first = owner_key.mark_of(tmp_path, b"x", create=True)
    assert os.stat(owner_key.key_path()).st_mode & 0o777 == 0o600
    assert owner_key.mark_of(tmp_path, b"x") == first
    assert owner_key.mark_of(tmp_path / "y", b"x") != first
    assert owner_key.mark_of(tmp_path, b"y") != first
    owner_key.key_path().chmod(0o644)
    assert owner_key.mark_of(tmp_path, b"x") is None  # others may have read it


def test_a_run_of_known_names_has_no_mark_and_makes_no_key(made, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    config = RunConfig.load(made / "run" / "config.json")
    (tmp_path / "a").mkdir()
    config.save(tmp_path / "a" / "config.json")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["config.json"]
    replace(config, agent="canary:TD3BC").save(tmp_path / "a" / "config.json")
    assert (tmp_path / "a" / "mark").exists()


def test_a_typed_name_does_not_vouch_for_arguments_that_a_run_gives_it(foreign, canary, capsys):
    run = foreign(env_options={"arguments": {"length": 3}})
    for facts in run.glob("checkpoints/policy-*/facts.json"):
        facts.write_text(facts.read_text().replace("toy:point", "canary:line"))
        (facts.parent / "whole.json").unlink()
    assert dispatch(["evaluate", str(run), "--episodes", "1", "--env", "canary:line"]) == 1
    assert "with {'length': 3}" in capsys.readouterr().err
    assert not canary.exists()
