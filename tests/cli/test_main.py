"""The program: help on every level, one-line errors, exit codes, and JSON last."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

from trajrl.cli.commands import COMMANDS, GROUPS
from trajrl.cli.main import dispatch, join_sets, one_line, parse
from trajrl.cli.online import Online

ROOT = Path(__file__).parents[2]


def program(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "run.py", *words], capture_output=True, text=True, cwd=ROOT)


def test_help_lists_every_command(capsys):
    assert dispatch(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("group", GROUPS)
def test_help_of_a_group_lists_its_commands(capsys, group):
    assert dispatch([group, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in GROUPS[group])
    assert dispatch([group]) == 2


def test_an_unknown_command_names_the_nearest_and_is_wrong_usage(capsys):
    assert dispatch(["offlin"]) == 2
    assert "did you mean 'offline'" in capsys.readouterr().err
    assert dispatch(["store", "inf"]) == 2
    assert "did you mean 'info'" in capsys.readouterr().err


def test_an_unknown_option_is_wrong_usage():
    assert dispatch(["offline", "--stps", "3"]) == 2


def test_a_bad_value_is_one_line_and_exit_code_one():
    done = program("offline", "--agent", "trajectry_ql")
    assert done.returncode == 1
    line = "error: no agent 'trajectry_ql'; did you mean 'trajectory_ql'?"
    assert done.stderr.strip().splitlines() == [line]


def test_debug_shows_the_traceback():
    done = program("offline", "--agent", "trajectry_ql", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_key_error_loses_its_quotes_and_newlines():
    assert one_line(KeyError("no such\n key")) == "no such key"


def test_set_may_be_given_more_than_once():
    argv = ["--set", "a=1", "--steps", "3", "--set", "b=2", "c=3"]
    assert join_sets(argv) == ["--steps", "3", "--set", "a=1", "b=2", "c=3"]


def test_json_is_the_last_line(tmp_path):
    done = program("store", "info", str(ROOT / "data" / "hopper-skewed.h5"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["episodes"] > 1


@pytest.mark.parametrize(
    "words", [("--env", "NoSuchEnv-v3"), ("--sampler", "clutser"), ("--device", "cuda:7")]
)
def test_a_run_that_cannot_be_built_leaves_nothing(tmp_path, words):
    assert dispatch(["offline", *words, "--out", str(tmp_path / "new")]) == 1
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note").write_text("kept")
    assert dispatch(["offline", *words, "--out", str(tmp_path / "mine")]) == 1
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["note"]


def test_fewer_videos_than_none_are_refused(capsys):
    assert dispatch(["evaluate", "nowhere", "--video", "-1"]) == 1
    assert capsys.readouterr().err == "error: --video must not be negative; got -1\n"


@pytest.mark.parametrize("words", ["toy rings --seed -1", "store info nothing.h5 --seed -7"])
def test_a_negative_seed_is_refused_by_every_command(capsys, words):
    assert dispatch(words.split()) == 1
    assert f"--seed must not be negative; got {words.split()[-1]}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cluster*", "*cluster", "cluster**priority", ""])
def test_a_sampler_without_a_name_is_told_by_what_was_asked_for(capsys, tmp_path, name):
    assert dispatch(["offline", "--sampler", name, "--out", str(tmp_path / "a")]) == 1
    printed = capsys.readouterr().err
    assert (
        "--sampler takes a name, names joined by * such as cluster*priority, or one for each role" in printed
    )
    assert f"; got '{name}'" in printed


def test_the_help_of_mix_shows_no_empty_default(capsys):
    assert dispatch(["store", "mix", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "STORE:SHARE" in printed
    assert "(default: )" not in printed
    assert "STR" not in printed


def test_an_environment_that_changes_the_folder_takes_no_file_with_it(tmp_path, monkeypatch):
    from small_runs import settings, write_store

    store = write_store(tmp_path / "x.h5", 4, "sample_envs:line")
    monkeypatch.chdir(tmp_path)
    words = ["--env", "sample_envs:wandering", "--agent", "td3_bc", "--steps", "2", "--out", "a"]
    assert dispatch(["offline", "--data", str(store), *words, "--set", *settings("td3_bc")]) == 0
    assert (tmp_path / "a" / "summary.json").exists()
    monkeypatch.chdir(tmp_path)
    assert dispatch(["evaluate", "a", "--env", "sample_envs:wandering", "--episodes", "1"]) == 0


def test_a_module_beside_the_user_is_found_where_the_command_line_names_it(tmp_path, monkeypatch):
    (tmp_path / "beside_the_user.py").write_text("from sample_envs import line\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    dispatch(["offline", "--env=beside_the_user:line", "--data", "absent.h5"])
    assert sys.path[-1] == str(tmp_path)
    assert find_spec("beside_the_user")


def names_in_help(capsys, *words: str) -> list[str]:
    assert dispatch([*words, "--help"]) == 0
    return re.findall(r"^. ?(--[a-z][a-z-]*)", capsys.readouterr().out, re.MULTILINE)


def test_the_help_of_online_shows_its_own_options_then_those_of_offline_then_those_of_all(capsys):
    online, offline = names_in_help(capsys, "online"), names_in_help(capsys, "offline")
    assert online[:2] == ["--from", "--env-steps"]
    both = [name for name in offline if name not in ("--eval-async", "--seeds")]  # which only offline has
    assert sorted(online[-len(both) :]) == sorted(both)  # first those that mean another thing online
    assert online[-len(both)] == both[0] == "--data"
    assert {"--json", "--debug"} <= set(offline[-4:])


WORDS = [[n] for n, (target, _) in COMMANDS.items() if target] + [[g, n] for g in GROUPS for n in GROUPS[g]]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_help_is_in_one_dialect(capsys, words):
    assert dispatch([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert not re.findall(
        r"\b(?:INT|FLOAT|STR)\b|\{(?!seed\})|\(default: (?:False|True|None|\)|'|\d+\.0\))", text
    )
    assert not re.findall(r"(?:empty|left out):|--(?:env|device|checkpoint) NAME", text)


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_the_text_of_an_option_is_one_paragraph(capsys, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "2000")
    assert dispatch([*words, "--help"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    alone = re.compile(r"  \S+(?: \S+)*")  # a name so long that its text stands below
    assert [
        two for before, two in pairwise(lines) if two.startswith(" " * 6) and not alone.fullmatch(before)
    ] == []


def test_a_presented_command_is_the_command():
    command = parse(Online, "online", ["--from", "runs/x", "--set", "a=1", "--eval-every", "3"])
    assert isinstance(command, Online)
    assert (command.from_run, command.set, command.eval_every, command.seed) == ("runs/x", ("a=1",), 3, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["sweep", "--grid", "sampler=uniform", "--gpus", "1.5"],
            "--gpus is a whole number, or a share",
        ),
        (["sweep", "--grid", "sampler=uniform", "--gpus", "nan"], "--gpus is a whole number, or a share"),
        (["sweep", "--grid", "sampler=uniform", "--gpus", "inf"], "--gpus is a whole number, or a share"),
        (["sweep", "--grid", "sampler=uniform", "--seed", "-1"], "--seed must not be negative; got -1"),
        (["bench", "sampler", "--repeats", "0"], "--repeats must be at least 1; got 0"),
    ],
)
def test_a_number_that_cannot_be_names_its_option(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dispatch(words) == 1
    assert said in capsys.readouterr().err


def test_the_help_of_online_offers_nothing_that_online_refuses(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "2000")
    assert dispatch(["online", "--help"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "--env ID" in line)
    assert "none" not in line
    assert "the offline run's" in line


@pytest.mark.parametrize("command", ["offline", "online"])
def test_a_sampler_is_given_for_each_role_in_either_phase(capsys, command):
    words = ["--sampler", "values=uniform", "policy=weighted", "--json", "--help-config"]
    assert dispatch([command, *words, "--set", "sampler.policy.ess=0.3"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["run"]["sampler"]["value"] == "policy=weighted values=uniform"
    assert found["sampler weighted"]["sampler.policy.ess"]["value"] == 0.3
    assert dispatch([command, "--sampler", "weighted", "uniform"]) == 1
    assert "or one for each role, policy=NAME values=NAME; got 'weighted uniform'" in capsys.readouterr().err
