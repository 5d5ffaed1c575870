"""Ctrl-C at any time, the imports of the first second included: one line, exit code 130, no traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Says "ready" when run.py first chooses what Ctrl-C does; Python's own start before that is not ours.
PROGRAM = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
choose = signal.signal
def first(*chosen):
    signal.signal = choose
    choose(*chosen)
    print("ready", flush=True)
signal.signal = first
sys.argv = ["run.py", *sys.argv[1:]]
runpy.run_path("run.py", run_name="__main__")
"""


@pytest.mark.parametrize("seconds", [0.05, 0.15, 0.3, 0.6, 1.0, 1.5])
@pytest.mark.parametrize(
    "words", [["offline", "--steps", "1000000"], ["toy", "8gaussians", "--steps", "1000000"]]
)
def test_ctrl_c_is_one_line_and_130(words, seconds, tmp_path):
    out = [*words, "--out", str(tmp_path / "out")]
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *out], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert program.stdout
    assert program.stdout.readline() == "ready\n"
    time.sleep(seconds)
    program.send_signal(signal.SIGINT)
    try:
        said, wrong = program.communicate(timeout=240)
    finally:
        program.kill()
    assert program.returncode == 130, wrong
    assert "Traceback" not in said + wrong
    assert "Exception ignored" not in wrong
    assert wrong.splitlines()[-1:] == ["interrupted"] or "stopping after this step" in said + wrong


def test_ctrl_c_that_is_ignored_stays_ignored(tmp_path):
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code += "from trajrl.core.interrupt import leave_when_interrupted, raise_when_interrupted\n"
    code += "leave_when_interrupted(); raise_when_interrupted()\n"
    code += "assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN"
    words = [sys.executable, "-c", code]
    ended = subprocess.run(words, check=False, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
