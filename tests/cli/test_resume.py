"""Runs resumed and run again: what is refused leaves the run as it was, and what was given wins."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import settings, small_online, trained, write_store

from trajrl.cli.main import dispatch, join_sets
from trajrl.training import loop, resolve_config, saved_config
from trajrl.training.config import RunConfig
from trajrl.training.run_dir import folder
from trajrl.training.run_dir.folder import require_run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with an offline run of seed 3, and an online one that continues from it."""
    place = tmp_path_factory.mktemp("place")
    store = write_store(place / "point.h5")
    trained(place / "off", store, agent="td3_bc", sampler="uniform", steps=4, seed=3)
    loop.online(small_online(place / "on", place / "off", env_steps=24, eval_every=0))
    return place


@pytest.fixture(autouse=True)
def let_go():
    """Give back the locks that a command holds until its process ends."""
    yield
    let_go_of_locks()


def let_go_of_locks():
    while folder._locks:
        folder._locks.pop().close()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--sampler", "cluster"], "has sampler uniform; it cannot change"),
        (["--set", "sampler=priority"], "has sampler uniform; it cannot change"),
        (["--set", "agent.width=8"], "the agent saved in"),
        (["--seed", "0"], "has seed 3"),
    ],
)
def test_a_refused_change_leaves_the_run_as_it_was(place, tmp_path, capsys, words, reason):
    shutil.copytree(place / "off", tmp_path / "a")
    before = (tmp_path / "a" / "config.json").read_text()
    assert dispatch(["offline", "--resume", "--out", str(tmp_path / "a"), "--steps", "6", *words]) == 1
    assert reason in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "a" / "config.json").read_text() == before


def test_a_file_is_no_folder_for_a_run(place, tmp_path, capsys):
    (tmp_path / "a").write_text("")
    words = ["--data", str(place / "point.h5"), "--steps", "2", "--out", str(tmp_path / "a")]
    assert dispatch(["offline", *words]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("a is a file; --out takes the folder of a run")


def test_a_sampler_does_not_take_up_the_law_of_another(place, tmp_path):
    trained(tmp_path / "a", place / "point.h5", agent="td3_bc", sampler="weighted", steps=4)
    with pytest.raises(ValueError, match="has sampler weighted; it cannot change"):
        saved_config.resume_config(tmp_path / "a", {"sampler": "uniform"}, [])


@pytest.mark.parametrize(
    ("sampler", "metric", "rest"),
    [("uniform", "", {}), ("cluster*priority", "return", {"metric": "return"})],
)
def test_another_sampler_takes_no_options_from_a_config_file(place, tmp_path, sampler, metric, rest):
    file = tmp_path / "config.json"
    chosen = {"data": str(place / "point.h5"), "sampler": "priority", "metric": "return"}
    resolve_config.resolve_config(chosen, ["sampler.alpha=0.3"]).save(file)
    config = resolve_config.resolve_config({"sampler": sampler}, [], file)
    assert (config.metric, config.sampler_options) == (metric, rest)
    assert resolve_config.resolve_config({}, [], file).sampler_options == {"metric": "return", "alpha": 0.3}


@pytest.mark.parametrize(("command", "run"), [("offline", "off"), ("online", "on")])
def test_other_data_of_the_same_size_are_refused_and_a_copy_is_not(place, tmp_path, capsys, command, run):
    shutil.copytree(place / run, tmp_path / "a")
    other = write_store(tmp_path / "other.h5", episodes=13)
    copy = shutil.copy(place / "point.h5", tmp_path / "copy.h5")
    before = (tmp_path / "a" / "config.json").read_text()
    words = [command, "--resume", "--out", str(tmp_path / "a"), "--data"]
    assert dispatch([*words, str(other)]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"{other} is not the data that {tmp_path / 'a'} learned from (fingerprint" in said
    assert (tmp_path / "a" / "config.json").read_text() == before
    let_go_of_locks()
    assert dispatch([*words, str(copy)]) == 0


def test_a_store_that_was_written_over_is_refused_by_its_old_name(tmp_path, capsys):
    store = write_store(tmp_path / "point.h5")
    trained(tmp_path / "off", store, agent="td3_bc", sampler="uniform", steps=4)
    store.unlink()
    write_store(store, episodes=13)
    assert dispatch(["offline", "--resume", "--out", str(tmp_path / "off"), "--steps", "6"]) == 1
    assert "is not the data that" in capsys.readouterr().err.splitlines()[-1]
    assert dispatch(["online", "--from", str(tmp_path / "off"), "--out", str(tmp_path / "on")]) == 1
    assert "is not the data that" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "on").exists()


def test_a_run_killed_before_it_noted_its_data_goes_on_and_notes_them(place, tmp_path):
    shutil.copytree(place / "off", tmp_path / "a")
    noted = json.loads((tmp_path / "a" / "versions.json").read_text())["data_fingerprint"]
    (tmp_path / "a" / "versions.json").unlink()
    assert dispatch(["offline", "--resume", "--out", str(tmp_path / "a")]) == 0
    assert json.loads((tmp_path / "a" / "versions.json").read_text()) == {"data_fingerprint": noted}


@pytest.mark.parametrize(("command", "run"), [("offline", "off"), ("online", "on")])
def test_a_config_file_beside_resume_is_refused(place, capsys, command, run):
    words = [command, "--resume", "--out", str(place / run), "--config", str(place / "off" / "config.json")]
    assert dispatch(words) == 1
    assert f"--resume continues with the config in {place / run}" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "run", "other"), [("offline", "on", "online"), ("online", "off", "offline")]
)
def test_the_other_phase_is_refused_with_the_right_command(place, capsys, command, run, other):
    assert dispatch([command, "--resume", "--out", str(place / run)]) == 1
    assert f"`python run.py {other} --resume --out" in capsys.readouterr().err.splitlines()[-1]
    assert dispatch([command, "--config", str(place / run / "config.json"), "--out", str(place / "b")]) == 1
    assert f"`python run.py {other} --config" in capsys.readouterr().err.splitlines()[-1]
    assert not (place / "b").exists()


def test_the_config_of_an_online_run_runs_again(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dispatch(["online", "--config", str(place / "on" / "config.json"), "--out", "again"]) == 0
    again, before = (RunConfig.load(path / "config.json") for path in (tmp_path / "again", place / "on"))
    assert replace(again, env_options={}) == replace(before, env_options={})  # before: not yet resolved
    names = [tmp_path / "again", place / "on"]
    assert len({(path / "evals.csv").read_text() for path in names}) == 1
    assert json.loads((tmp_path / "again" / "summary.json").read_text())["online"]["env_steps"] == 24


def test_seed_zero_can_be_asked_for(place, tmp_path):
    words = ["offline", "--config", str(place / "off" / "config.json"), "--steps", "1"]
    for name, more, seed in (("a", [], 3), ("b", ["--seed", "0"], 0)):
        assert dispatch([*words, "--out", str(tmp_path / name), *more]) == 0
        assert RunConfig.load(tmp_path / name / "config.json").seed == seed


def test_no_setting_is_lost_however_set_is_written():
    expected = ["x", "--set", "a=1", "b=2", "c=3"]
    assert join_sets(["x", "--set=a=1", "--set=b=2", "--set", "c=3"]) == expected


@pytest.mark.parametrize(
    ("words", "steps", "decay"), [([], 9, 9), (["agent.decay_steps=6"], 9, 6), ([], None, 4)]
)
def test_learning_rates_decay_over_the_updates_that_were_added(tmp_path, words, steps, decay):
    store = write_store(tmp_path / "point.h5")
    trained(tmp_path / "off", store, agent="bc_diffusion", sampler="uniform", steps=4)
    config = saved_config.resume_config(tmp_path / "off", {"steps": steps} if steps else {}, words)
    assert config.agent_options["decay_steps"] == decay


@pytest.mark.parametrize(("command", "run"), [("offline", "off"), ("online", "on")])
def test_resume_refuses_what_is_no_run_and_names_the_nearest(place, capsys, command, run):
    typed = place / f"{run}f"
    assert dispatch([command, "--resume", "--out", str(typed)]) == 1
    assert f"{typed} holds no run to resume: did you mean {place / run}?" in capsys.readouterr().err
    assert not typed.exists()
    assert dispatch([command, "--resume", "--out", str(place / "elsewhere" / "x")]) == 1
    assert "there is no such folder" in capsys.readouterr().err


def test_resume_names_the_run_under_runs_and_those_below_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs/hopper").mkdir(parents=True)
    Path("runs/hopper/config.json").write_text("{}")
    Path("file").write_text("mine")
    for typed, said in {
        "hoper": "did you mean runs/hopper?", "run/hopper": "did you mean runs/hopper?",
        "runs": "it holds runs, such as runs/hopper", "file": "it is a file",
    }.items():  # fmt: skip
        with pytest.raises(FileNotFoundError, match=re.escape(said)):
            require_run(Path(typed))


def test_resume_or_start_starts_where_there_is_no_run(place, tmp_path, capsys):
    words = ["offline", "--resume-or-start", "--data", str(place / "point.h5"), "--agent", "td3_bc"]
    words += ["--out", str(tmp_path / "a"), "--set", *settings("td3_bc", batch_size=8), "--steps"]
    assert dispatch([*words, "3"]) == 0
    let_go_of_locks()
    assert dispatch([*words, "5"]) == 0
    assert "from step 3 of 5" in capsys.readouterr().out


def test_what_cannot_be_built_leaves_a_folder_as_it_was(place, tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("mine")
    words = ["--data", str(place / "point.h5"), "--steps", "2", "--out", str(tmp_path / "a")]
    assert dispatch(["offline", *words, "--env", "bandit:rings"]) == 1
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine.txt"]


def test_a_finished_run_that_is_resumed_keeps_its_rates(place):
    path = place / "off" / "summary.json"
    before = json.loads(path.read_text())["updates_per_second"]
    assert dispatch(["offline", "--resume", "--out", str(place / "off")]) == 0
    assert json.loads(path.read_text())["updates_per_second"] == before > 0


def test_another_number_of_environments_says_what_to_do(place, capsys):
    assert (
        dispatch(["online", "--resume", "--out", str(place / "on"), "--envs", "3", "--env-steps", "40"]) == 1
    )
    assert "steps 1 environment together, and here 3 were asked for: resume with --envs 1" in (
        capsys.readouterr().err
    )


def test_a_longer_run_does_not_open_its_first_phase_again(tmp_path):
    store = write_store(tmp_path / "point.h5", 4)
    run = trained(tmp_path / "run", store, agent="eg_ood", sampler="uniform", steps=8)
    assert run.agent.config.behaviour_updates == 2
    config = saved_config.resume_config(tmp_path / "run", {"phase": "offline", "steps": 80}, [])
    assert (config.agent_options["decay_steps"], config.agent_options["behaviour_steps"]) == (80, 2)
    words = ["agent.behaviour_steps=5"]
    config = saved_config.resume_config(tmp_path / "run", {"phase": "offline", "steps": 80}, words)
    assert config.agent_options["behaviour_steps"] == 5


@pytest.mark.parametrize(("command", "run", "words"), [
    ("offline", "off", ["--steps", "2"]), ("online", "on", ["--env-steps", "8"]),
])  # fmt: skip
def test_fewer_steps_than_were_made_are_refused_and_the_config_stays(
    place, tmp_path, capsys, command, run, words
):
    shutil.copytree(place / run, tmp_path / "a")
    before = (tmp_path / "a" / "config.json").read_text()
    assert dispatch([command, "--resume", "--out", str(tmp_path / "a"), *words]) == 1
    made = {"off": "4", "on": "24"}[run]
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"a has made {made} steps already, and {' '.join(words)} ends before" in line
    assert (tmp_path / "a" / "config.json").read_text() == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--set", "agent.x=1"], "error: no agent option 'x'"),
        (["--batch-size", "0"], "error: batch_size must be at least 1; got 0"),
        (["--set", "agent.gamma=a"], "error: agent.gamma takes a number"),
    ],
)
def test_a_wrong_option_beside_resume_is_not_laid_on_the_config(place, capsys, words, reason):
    assert dispatch(["offline", "--resume", "--out", str(place / "off"), *words]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(reason)


def test_a_finished_run_that_is_resumed_keeps_the_larger_peak_of_memory(place, tmp_path):
    shutil.copytree(place / "off", tmp_path / "a")
    path = tmp_path / "a" / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "peak_memory_mib": 1e6}))
    for words in ([], ["--steps", "5"]):
        assert dispatch(["offline", "--resume", "--out", str(tmp_path / "a"), *words]) == 0
        let_go_of_locks()
        assert json.loads(path.read_text())["peak_memory_mib"] == 1e6


@pytest.mark.parametrize("content", ['{"scores": ', "", "[1]", '{"updates_per_second": null, "a": null}'])
def test_a_damaged_summary_is_written_anew(content, place, tmp_path, capsys):
    shutil.copytree(place / "off", tmp_path / "a")
    path = tmp_path / "a" / "summary.json"
    before = json.loads(path.read_text())
    path.write_text(content)
    assert dispatch(["offline", "--resume", "--out", str(tmp_path / "a")]) == 0
    assert json.loads(path.read_text())["scores"] == before["scores"]
    assert ("it is written anew" in capsys.readouterr().out) == (not content.endswith("}"))


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("schedule", "vp", "linear"),
        ("diffusion_steps", 3, 5),
        ("activation", "mish", "relu"),
        ("critic_norm", "before", "after"),
        ("actor_norm", "none", "after"),
        ("normalize_obs", "true", "false"),
    ],
)
def test_what_weights_were_trained_as_stays_what_they_are(tmp_path, capsys, name, before, after):
    """The same numbers would be another function, and nothing else would say so."""
    store = write_store(tmp_path / "x.h5")
    trained(tmp_path / "off", store, steps=4)
    saved = (tmp_path / "off" / "config.json").read_text()
    assert str(json.loads(saved)["agent_options"][name]).lower() == str(before)
    words = ["--set", f"agent.{name}={after}"]
    for command in (["offline", "--resume", "--out"], ["online", "--env-steps", "8", "--from"], ["evaluate"]):
        let_go_of_locks()
        assert dispatch([*command, str(tmp_path / "off"), *words]) == 1
        line = capsys.readouterr().err.splitlines()[-1]
        assert f"were trained with agent.{name}={before} and mean nothing with {after}" in line
    assert (tmp_path / "off" / "config.json").read_text() == saved


def test_an_online_run_that_is_run_again_takes_weights_as_they_were_trained(place, tmp_path, capsys):
    again = ["online", "--config", str(place / "on" / "config.json"), "--from", str(place / "off")]
    was = RunConfig.load(place / "off" / "config.json").agent_options["normalize_obs"]
    words = ["--out", str(tmp_path / "b"), "--set", f"agent.normalize_obs={str(not was).lower()}"]
    assert dispatch([*again, *words]) == 1
    assert f"keep agent.normalize_obs={str(was).lower()}" in capsys.readouterr().err.splitlines()[-1]
