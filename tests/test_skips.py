"""The guard against silent skips."""

from types import SimpleNamespace

import conftest
import pytest


def skipped(reason: str) -> SimpleNamespace:
    return SimpleNamespace(nodeid="tests/x.py::test_y", longrepr=("tests/x.py", 3, f"Skipped: {reason}"))


def test_a_skip_off_the_list_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(conftest, "ALLOWED", tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("# why\nno browser\n")
    found = conftest.unexpected([skipped("no browser here"), skipped("felt like it")])
    assert found == ["tests/x.py::test_y: Skipped: felt like it"]


def test_more_than_five_reasons_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(conftest, "ALLOWED", tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("\n".join("abcdef"))
    with pytest.raises(pytest.UsageError, match="five is the most"):
        conftest.allowed_skips()


def test_a_run_in_ci_fails_on_a_skip(tmp_path):
    import os
    import shutil
    import subprocess
    import sys

    for name in ("conftest.py", "allowed_skips.txt"):
        shutil.copy(conftest.ALLOWED.with_name(name), tmp_path / name)
    (tmp_path / "test_s.py").write_text("import pytest\ndef test_a():\n    pytest.skip('felt like it')\n")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    codes = [
        subprocess.run(words, env={**os.environ, "CI": ci}, capture_output=True, cwd=tmp_path).returncode
        for ci in ("", "true")
    ]
    assert codes == [0, 1]
