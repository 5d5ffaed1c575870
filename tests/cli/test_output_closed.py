"""A standard output that is closed, or on a full disk: nothing, or one line that names it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import write_store

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "x.h5", 2)


def ended(words: str, redirected: str) -> subprocess.CompletedProcess:
    line = f"{sys.executable} -m trajrl {words} {redirected}"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_closed_stream_ends_quietly(store, closed):
    found = ended(f"store info {store}", closed)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(
    "words", ["store info STORE", "store info STORE --json", "store info --help", "--help"]
)
def test_an_output_on_a_full_disk_is_named(store, words):
    found = ended(words.replace("STORE", str(store)), ">/dev/full")
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1] == (
        "error: standard output could not be written: no space left on device"
    )
