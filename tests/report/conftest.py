"""Two small real runs, made once for all tests of the report."""

import pytest

from trajrl.core.console import speak_to_stderr
from trajrl.report.example_runs import small_runs


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    """Keep every test's tables, and what it writes where it stands, to itself."""
    monkeypatch.chdir(tmp_path)
    speak_to_stderr(False)  # another test may have asked for --json
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def real_runs(tmp_path_factory):
    """The folder of two runs of the default agent: uniform and cluster-balanced."""
    folder = tmp_path_factory.mktemp("real")
    small_runs(folder, ["uniform", "cluster"], [0])
    return folder
