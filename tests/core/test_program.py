"""What help and hints show is how the program was called, and how a missing extra is really installed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from trajrl.cli.main import dispatch
from trajrl.core import extras, paths, program

ROOT = Path(__file__).parents[2]
CALLED = {
    "run.py": "python run.py", "../x/run.py": "python ../x/run.py",
    "/lib/trajrl/__main__.py": "python -m trajrl", "/env/bin/trajrl": "trajrl", "trajrl.exe": "trajrl",
}  # fmt: skip


@pytest.mark.parametrize("called", CALLED)
def test_help_shows_the_name_it_was_called_by(called, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [called, "--help"])
    assert dispatch(["--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: {CALLED[called]} COMMAND [options]")
    assert dispatch(["offline", "--help"]) == 0
    assert f"{CALLED[called]} offline" in capsys.readouterr().out


@pytest.mark.parametrize("called", CALLED)
def test_the_command_line_of_a_run_can_be_typed_again(called, monkeypatch):
    monkeypatch.setattr(sys, "argv", [called, "offline", "--seed", "1"])
    assert program.command_line() == [*CALLED[called].split(), "offline", "--seed", "1"]


def test_another_program_that_calls_it_is_shown_a_command_that_is_there(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mine/loop.py", "x"])
    assert program.command_line() == ["python", "mine/loop.py", "x"]
    assert program.program() == "python run.py"
    monkeypatch.setattr(program, "CHECKOUT", None)
    assert program.program() == "trajrl"


def test_an_extra_is_installed_from_the_checkout_or_by_the_distributions_name(monkeypatch):
    assert extras.install("ray") == "pip install -e '.[ray]'"
    monkeypatch.setattr(extras, "CHECKOUT", None)
    assert extras.install("ray") == "pip install 'trajrl-toolkit[ray]'"
    assert extras.install() == "pip install 'trajrl-toolkit'"


def test_no_message_names_an_extra_of_somebody_elses_package():
    folders = ("trajrl", "tests", "docs", "analysis", "benchmarks", "examples")
    texts = [path for name in folders for path in (ROOT / name).rglob("*") if path.is_file()]
    texts += [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    wrong = re.compile(rb"(?<![\w-])trajrl\[\w|pip install ['\"]?trajrl(?![\w-])")
    assert [path for path in texts if wrong.search(path.read_bytes())] == []


def test_files_that_come_with_the_package_lie_inside_it_else_beside_it(tmp_path):
    assert paths.shipped(tmp_path / "trajrl") == tmp_path / "data"
    (tmp_path / "trajrl" / "data").mkdir(parents=True)
    assert paths.shipped(tmp_path / "trajrl") == tmp_path / "trajrl" / "data"
    assert paths.DEMO_STORE == ROOT / "data" / "hopper-skewed.h5"
