"""A run directory that is damaged or foreign: one line that names the file, whatever it holds."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faults import ROOT, Nursery
from small_runs import trained, write_store

from trajrl.cli import main
from trajrl.cli.main import dispatch
from trajrl.training.run_dir import checkpoint, folder
from trajrl.training.run_dir.checkpoint import _digest

WRONG = {
    "null": "null", "nulls": '{"steps": null, "scores": {"last": null}}', "empty": "{}", "text": "no json",
    "deep": '{"steps": ' + "[" * 100_000 + "]" * 100_000 + "}", "twice": '{"steps": 1, "steps": 2}',
    "endless": '{"steps": ' + "9" * 5_000 + "}", "large": '{"steps": ' + "9" * 100 + "}", "list": "[1]",
    "half": '{"steps": 1', "bytes": "\udcff",
}  # fmt: skip
COMMANDS = {
    "evaluate": ["evaluate", "RUN", "--episodes", "1"],
    "best": ["evaluate", "RUN", "--episodes", "1", "--checkpoint", "best"],
    "resume": ["offline", "--resume", "--out", "RUN", "--steps", "8"],
    "online": ["online", "--from", "RUN", "--out", "OUT", "--env-steps", "4"],
}  # fmt: skip
FILES = {  # and who reads them
    "config.json": COMMANDS, "summary.json": ("best",), "facts.json": ("evaluate",),
    "run.json": ("resume", "online"), "scores.json": ("resume",), "sampler.json": ("resume",),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("made")
    data = write_store(place / "x.h5", 4)
    trained(
        place / "run", data, agent="td3_bc", sampler="priority", steps=4, eval_every=2, checkpoint_every=2
    )
    return place / "run"


@pytest.fixture
def run(made, tmp_path):
    yield shutil.copytree(made, tmp_path / "run")
    while folder._locks:
        folder._locks.pop().close()


def spoil(run: Path, name: str, text: str) -> None:
    """Write a text into every file of that name, sealed as a stranger would."""
    for path in run.rglob(name):
        path.write_bytes(text.encode(errors="surrogateescape"))
        whole = path.parent / "whole.json"
        if whole.exists():
            found = json.loads(whole.read_text())
            whole.write_text(json.dumps({**found, "digests": {**found["digests"], name: _digest(path)}}))


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", FILES)
def test_what_a_file_of_a_run_should_not_hold_is_one_line_that_names_it(name, wrong, run, tmp_path, capsys):
    spoil(run, name, WRONG[wrong])
    for command in FILES[name]:
        words = [{"RUN": str(run), "OUT": str(tmp_path / "out")}.get(w, w) for w in COMMANDS[command]]
        code = dispatch(words)
        said = capsys.readouterr().err
        while folder._locks:
            folder._locks.pop().close()
        assert code == 1 or (name, wrong) == ("config.json", "empty"), (command, said)
        if code:
            (line,) = said.splitlines()
            assert str(run) in line, command
            assert len(line) < 500, line


@pytest.mark.parametrize("said", ["", "nonsense", "\0", "x" * 5000, "../run", "policy-000000002", "/", "."])
def test_a_pointer_that_is_nonsense_means_the_newest_whole_checkpoint(said, run, capsys):
    place = run / "checkpoints"
    (place / "latest").write_text(said)
    assert checkpoint.newest(place).name == "step-000000004"
    (place / "latest").unlink()
    (place / "latest").mkdir()
    assert checkpoint.newest(place).name == "step-000000004"


def test_a_pipe_as_config_is_refused_and_not_waited_for(run, capsys):
    (run / "config.json").unlink()
    os.mkfifo(run / "config.json")
    assert dispatch(["evaluate", str(run)]) == 1
    assert f"{run / 'config.json'} is not a plain file" in capsys.readouterr().err


def test_a_foreign_name_among_the_policies_is_passed_over(run):
    (run / "checkpoints" / "policy-latest").mkdir()
    assert checkpoint.policy_steps(run / "checkpoints") == [2, 4]


def test_an_errno_becomes_words():
    denied = PermissionError(errno.EACCES, "Permission denied", "/x/y")
    assert main.one_line(denied) == "/x/y: permission denied"
    assert main.one_line(ValueError(f"a run: {denied}")) == "a run: Permission denied: '/x/y'"


@pytest.mark.parametrize("words", [["--help"], ["offline", "--help"], ["list", "agents"]])
def test_a_reader_that_leaves_ends_a_command_quietly(words):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    near, far = os.pipe()
    os.close(near)
    ended = subprocess.run(
        [sys.executable, "-m", "trajrl", *words], stdout=far, stderr=subprocess.PIPE, env=env, check=False
    )
    os.close(far)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_an_interrupt_begins_a_line_of_its_own(run, capsys, monkeypatch):
    def interrupted(*words, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("trajrl.cli.evaluate.Evaluate.run", interrupted)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert dispatch(["evaluate", str(run)]) == 130
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "\ninterrupted\n")


def test_a_report_on_a_full_disk_leaves_nothing(run, tmp_path):
    nursery = Nursery("trajrl.cli.report trajrl.report.page.compose plotly.offline", tmp_path / "log")
    place = tmp_path / "page"
    place.mkdir()
    words = ["run.py", "report", str(run), "--detail", "0", "--out", str(place / "report.html")]
    try:
        ended = nursery.run(words, place, room=100_000)
        assert ended.code == 1, ended.output
        assert f"{place / 'report.html'} could not be written: No space left on device" in ended.output
        assert list(place.iterdir()) == []
        killed = nursery.run(words, place, after_writes=1)
        assert killed.killed
        assert not (place / "report.html").exists()
        assert nursery.run(words, place).code == 0
        assert [path.name for path in place.iterdir()] == ["report.html"]
    finally:
        nursery.close()
