"""What a grid stands for, and what it refuses."""

import json
from pathlib import Path

import pandas as pd
import pytest

from trajrl.cli.main import dispatch
from trajrl.sweep.grid import as_one, read_grid, together, trial_name, trials
from trajrl.sweep.on_ray import require_room
from trajrl.sweep.process import Resources, command
from trajrl.sweep.results import frame, state, table
from trajrl.training.resolve_config import resolve_config


def test_a_grid_is_every_cell_for_every_seed():
    grid = read_grid(["agent=td3_bc,sac", "agent.hidden=[16,16],[32,32]", "batch_size=8"])
    assert grid == {
        "agent": ["td3_bc", "sac"], "agent.hidden": ["[16,16]", "[32,32]"], "batch_size": ["8"]
    }  # fmt: skip
    found = trials(Path("out"), grid, ("steps=5",), [3, 4])
    assert len(found) == 8
    assert len({trial.folder for trial in found}) == 8
    assert found[0].name == "td3_bc-hidden=_16_16_-batch_size=8-s3-" + found[0].name[-8:]
    assert found[0].settings == ("steps=5", "agent=td3_bc", "agent.hidden=[16,16]", "batch_size=8")
    assert [trial.seed for trial in found] == [3] * 4 + [4] * 4


def test_a_sampler_for_each_role_is_one_value_of_a_grid(tmp_path):
    grid = read_grid(["sampler=uniform,policy=weighted values=uniform"])
    assert grid == {"sampler": ["uniform", "policy=weighted values=uniform"]}
    one, two = trials(tmp_path, grid, [], [0])
    assert (one.name, two.name) == ("uniform-s0", "policy=weighted-values=uniform-s0")
    assert resolve_config({}, two.settings).sampler == "policy=weighted values=uniform"


def test_names_are_short_where_they_can_be_and_never_the_same():
    assert trial_name([("agent", "sac"), ("sampler", "cluster*priority")], 0).startswith(
        "sac-cluster-x-priority-s0"
    )
    assert trial_name([("agent", "sac"), ("agent.eta", "2.0")], 1) == "sac-eta=2.0-s1"
    names = {trial_name([("data", text)], 0) for text in ("a/b", "a_b", "a b", "a-x-b", "a*b")}
    assert len(names) == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--grid", "sampler"], "--grid takes NAME=VALUE,VALUE ...; got 'sampler'"),
        (["--grid", "sampler=uniform,"], "got 'sampler=uniform,'"),
        (["--grid", "seed=1,2"], "--seeds says how many"),
        (["--grid", "phase=offline,online"], "--grid cannot vary phase"),
        (["--grid", "sampler=uniform", "sampler=top"], "names sampler twice"),
        (["--grid", "sampler=top,top"], "has a value twice"),
        (["--grid", "sampler=uniform,clutser"], "did you mean 'cluster'"),
        (["--grid", "agent=sac,td3"], "no agent 'td3'"),
        (["--grid", "agent.et=1,2", "--agent", "diffusion_ql"], "did you mean 'eta'"),
        (["--grid", "agent=sac", "--agent", "sac"], "agent is in the grid, and given beside it as well"),
        (["--grid", "learn_after=1,2", "learning_starts=3"], "names learning_starts twice"),
        (["--grid", "learning_starts=1,2", "--set", "learn_after=3"], "learning_starts is in the grid, and"),
        (["--grid", "agent=sac", "--seeds", "0"], "--seeds must be at least 1"),
        (["--grid", "agent=sac", "--address", "auto"], "--address is for --engine ray"),
    ],
)
def test_bad_grids_are_refused_before_anything_runs(words, said, tmp_path, capsys):
    assert dispatch(["sweep", *words, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_old_name_in_a_grid_is_the_present_one():
    grid = read_grid(["learn_after=5,9", "env.patience=3"])
    assert grid == {"learning_starts": ["5", "9"], "env.env_timeout": ["3"]}
    found = trials(Path("out"), grid, (), [0])
    assert found[0].name == "learning_starts=5-env_timeout=3-s0"
    assert resolve_config({"phase": "offline"}, found[1].settings).learning_starts == 9


def test_a_sweep_begun_under_an_old_name_keeps_its_trials(tmp_path, monkeypatch, capsys):
    words = ["--agent", "sac", "--out", str(tmp_path)]
    (tmp_path / "sweep.json").write_text('{"base": ["agent=sac"], "grid": ["learn_after"]}')
    (tmp_path / "trials" / "learn_after=5-s0").mkdir(parents=True)
    seen = []
    monkeypatch.setattr("trajrl.sweep.local.run", lambda planned, *_: seen.extend(t.name for t in planned))
    dispatch(["sweep", "--grid", "learn_after=5,9", *words])
    assert seen == ["learn_after=5-s0", "learning_starts=9-s0"], capsys.readouterr().err


GRID = ["sweep", "--grid", "sampler=uniform,top", "--agent", "sac"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("config.json", "{}", "holds a run, not a sweep; give another --out"),
        ("sweep.json", '{"base": [', "sweep.json does not say what the sweep is of"),
        ("sweep.json", "[]", "sweep.json does not say what the sweep is of"),
    ],
)
def test_folders_that_are_no_sweep_are_refused(name, text, said, tmp_path, capsys):
    (tmp_path / name).write_text(text)
    assert dispatch([*GRID, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "results.csv").exists()


def test_a_table_of_the_users_is_kept_and_no_option_is_named_that_is_not_there(tmp_path, capsys):
    (tmp_path / "results.csv").write_text("mine")
    assert dispatch([*GRID, "--out", str(tmp_path)]) == 1
    assert "results.csv exists and is of no sweep; give another --out" in capsys.readouterr().err
    assert (tmp_path / "results.csv").read_text() == "mine"


def kill_all(planned, resources, on_end):
    """Be an engine whose trials are killed until it gives up."""
    for trial in planned:
        on_end(trial, -9)


def test_trials_that_were_given_up_are_a_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("trajrl.sweep.local.run", kill_all)
    assert dispatch([*GRID, "--out", str(tmp_path)]) == 1
    assert "2 trials have not finished" in capsys.readouterr().out


def test_trials_that_no_machine_has_room_for_are_refused_and_on_a_cluster_reported(capsys):
    with pytest.raises(ValueError, match="a trial asks for 1 GPUs, and 0 are here; lower --gpus"):
        require_room({"CPU": 2.0}, Resources(gpus=1.0))
    require_room({"CPU": 2.0, "GPU": 1.0}, Resources(cpus=2, gpus=0.5))
    assert capsys.readouterr().out == ""
    require_room({"CPU": 2.0}, Resources(cpus=4, address="auto"))
    assert "asks for 4 CPUs, and the cluster has 2: all wait" in capsys.readouterr().out


def test_a_cell_of_an_agent_that_does_not_select_offline_is_empty():
    row = {"grid.agent": "sac", "last": 40.0, "mean_last_10": 41.0, "best": 42.0, "selected": float("nan")}
    assert table(pd.DataFrame([row]), ["agent"], 0) == [
        ("sac", "1 of 1", "40.0", "one seed", "41.0", "42.0", "")
    ]


def test_a_trial_that_left_nothing_is_waiting(tmp_path):
    (trial,) = trials(tmp_path, {"sampler": ["top"]}, (), [0])
    assert state(trial) == "waiting"
    assert frame([trial]).to_dict("records") == [
        {"trial": "top-s0", "grid.sampler": "top", "seed": 0, "state": "waiting", "attempts": 0, "error": ""}
    ]


def test_a_trial_is_trusted_where_its_sweep_is(tmp_path):
    (plain,) = trials(tmp_path, {"sampler": ["top"]}, (), [0])
    (trusted,) = trials(tmp_path, {"sampler": ["top"]}, (), [0], trust=True)
    assert "--trust" not in command(plain)
    assert "--trust" in command(trusted)


def test_a_sweep_that_came_from_elsewhere_calls_nothing(tmp_path, capsys):
    from small_runs import trained, write_store

    (tmp_path / "sweep.json").write_text(
        json.dumps({"base": ["env=os:abort", "steps=2"], "grid": ["sampler"]})
    )
    words = ["sweep", "--grid", "sampler=uniform", "--steps", "2", "--out", str(tmp_path)]
    assert dispatch(words) == 1
    assert "holds a sweep with other settings (env=os:abort steps=2; now steps=2)" in capsys.readouterr().err
    (tmp_path / "sweep.json").unlink()
    run = tmp_path / "trials" / "uniform-s0"
    trained(run, write_store(tmp_path / "x.h5", 4), agent="td3_bc", sampler="uniform", steps=2)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "env": "os:abort"}))
    (run / "summary.json").unlink()
    assert dispatch(words) == 1
    assert f"{run / 'config.json'} names the environment 'os:abort', which would call abort" in (
        capsys.readouterr().out
    )


def test_seeds_of_a_cell_are_one_trial_where_their_folders_differ_in_the_seed_alone(tmp_path):
    grid = read_grid(["sampler=uniform,cluster*priority", "steps=5"])
    planned = trials(tmp_path, grid, ["batch_size=8"], [3, 4, 5])
    for seed in (3, 4, 5):
        done = tmp_path / "trials" / f"uniform-steps=5-s{seed}"
        done.mkdir(parents=True)
        if seed != 5:
            (done / "summary.json").write_text("{}")
    listed, todo = together(planned)
    assert [one.name for one in todo] == ["uniform-steps=5-s3-s5", "cluster-x-priority-steps=5-s3-s5"]
    said = command(todo[0])  # the whole cell again: what has ended stays as it is
    assert said[said.index("--out") + 1] == str(tmp_path / "trials" / "uniform-steps=5-s{seed}")
    assert said[said.index("--seeds") : said.index("--set")] == ["--seeds", "3", "--seed", "3"]
    assert todo[0].folders == [one.folder for one in planned if one.cell == todo[0].cell]
    assert {one.log.name for one in listed} == {f"{one.name}.txt" for one in todo}


def test_names_that_are_numbered_by_all_that_they_say_stay_apart(tmp_path):
    planned = trials(tmp_path, read_grid(["agent.hidden=[16,16]"]), [], [0, 1])
    assert as_one(planned) is None
    listed, todo = together(planned)
    assert listed == todo == planned
