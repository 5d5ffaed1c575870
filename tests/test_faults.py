"""The fault harness itself: it kills where it says, and says so when it did not."""

from __future__ import annotations

import pytest
from faults import KillMissedError, run_and_kill, run_to_end

THREE_WRITES = """
import os, pathlib
with open({path!r}, "wb", buffering=0) as file:
    for word in (b"one ", b"two ", b"three "):
        file.write(word)
"""


def three_writes(tmp_path) -> str:
    return THREE_WRITES.format(path=str(tmp_path / "words"))


def test_writes_under_the_folder_are_counted(tmp_path):
    assert run_to_end(three_writes(tmp_path), tmp_path).num_writes == 3
    assert run_to_end(three_writes(tmp_path), tmp_path / "elsewhere").num_writes == 0


@pytest.mark.parametrize(("n", "left"), [(1, ""), (2, "one "), (3, "one two ")])
def test_child_dies_as_its_nth_write_begins(tmp_path, n, left):
    ended = run_and_kill(three_writes(tmp_path), tmp_path, after_writes=n)
    assert (ended.killed, ended.code, (tmp_path / "words").read_text()) == (True, -9, left)


def test_torn_write_is_half_done(tmp_path):
    run_and_kill(three_writes(tmp_path), tmp_path, after_writes=2, torn=True)
    assert (tmp_path / "words").read_text() == "one tw"


def test_kill_after_the_end_is_an_error(tmp_path):
    with pytest.raises(KillMissedError, match="after 3 writes"):
        run_and_kill(three_writes(tmp_path), tmp_path, after_writes=4)


def test_timed_kill_lands_while_the_child_writes(tmp_path):
    code = (
        f"import time\nwhile True:\n    open({str(tmp_path / 'x')!r}, 'w').write('x')\n    time.sleep(0.01)"
    )
    assert run_and_kill(code, tmp_path, after_seconds=0.05).killed


def test_timed_kill_of_a_child_that_never_writes_is_an_error(tmp_path):
    with pytest.raises(KillMissedError, match="after 0 writes"):
        run_and_kill("pass", tmp_path, after_seconds=0.01)


@pytest.mark.parametrize("call", ["os.replace(a, b)", "os.fsync(os.open(a, os.O_RDWR))", "os.truncate(a, 0)"])
def test_renames_syncs_and_truncations_count(tmp_path, call):
    (tmp_path / "a").write_text("kept")
    code = f"import os\na, b = {str(tmp_path / 'a')!r}, {str(tmp_path / 'b')!r}\n{call}"
    run_and_kill(code, tmp_path, after_writes=1)
    assert (tmp_path / "a").read_text() == "kept"


def test_script_with_arguments_runs_as_a_program(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys, pathlib\npathlib.Path(sys.argv[1]).write_text('done')\nsys.exit(0)")
    assert run_to_end([str(script), str(tmp_path / "out")], tmp_path).num_writes == 1
    assert (tmp_path / "out").read_text() == "done"
