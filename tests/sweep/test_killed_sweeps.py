"""Sweeps killed at random points, they or one of their trials: in the end every trial has the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fuzz import kills
from same_run import assert_same_run
from small_runs import write_store
from small_sweeps import at_work, wait, words
from together import ROOT
from tried import note

from trajrl.core.rng import stream

pytestmark = pytest.mark.timeout(int(os.environ.get("TRAJRL_FUZZ_SECONDS", "7200")))
TRIALS = ("uniform-s0", "cluster-s0")
MOST = 4  # kills of trials in one start of the sweep


class RunningSweep:
    """A sweep at work in its folder."""

    def __init__(self, store: Path, out: Path) -> None:
        line = words(store, out, "--workers", "1", "--retries", "1000", steps=30)
        self.out, self.began = out, time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "run.py", *line], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    @property
    def ended(self) -> bool:
        """Say whether the sweep came to its end by itself, or was killed."""
        return self.process.poll() is not None

    def reach(self, rng: np.random.Generator, seconds: float) -> None:
        """Wait for a random point: a time after the start, or after a trial has saved something more."""
        if rng.integers(2):
            until = time.monotonic() + rng.uniform(0, seconds / 2)
            wait(lambda: self.ended or time.monotonic() > until)
            return
        before = saved(self.out)
        wait(lambda: self.ended or saved(self.out) != before)
        time.sleep(float(rng.uniform(0, 0.3)))

    def kill(self, whole: bool) -> bool:
        """Kill the sweep or the trial that runs; returns whether that came before its end."""
        if whole:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            wait(lambda: not at_work(self.out), 30)  # no trial outlives its sweep
            return self.process.returncode == -signal.SIGKILL
        for pid in at_work(self.out):
            os.kill(pid, signal.SIGKILL)
            return True
        return False

    def finish(self) -> int:
        """Let it come to its end; returns how many trials it said were killed."""
        said = self.process.communicate()[0]
        assert self.process.returncode == 0, said
        assert "2 of 2 trials have finished" in said
        return said.count("was killed")


def saved(out: Path) -> list[str]:
    """Return the checkpoints that the trials have."""
    return sorted(path.as_posix() for path in out.glob("trials/*/checkpoints/step-*"))


def finished(out: Path) -> dict[str, int]:
    """Return when each trial that has finished wrote that it had."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("trials/*/summary.json")}


@pytest.mark.slow
def test_a_sweep_killed_at_random_points_ends_with_the_bits_of_one_that_was_not(tmp_path):
    store = write_store(tmp_path / "point.h5", 16)
    whole = RunningSweep(store, tmp_path / "whole")
    assert whole.finish() == 0
    seconds = time.monotonic() - whole.began
    rng, landed, number, kept = stream(0, "kills/sweep"), 0, 0, {}
    while True:
        out = tmp_path / f"sweep{number}"
        sweep, trials_hit, whole_hit = RunningSweep(store, out), 0, False
        while landed + trials_hit < kills() and trials_hit < MOST and not whole_hit and not sweep.ended:
            sweep.reach(rng, seconds)
            if rng.integers(2):
                whole_hit = sweep.kill(whole=True)
            else:
                trials_hit += sweep.kill(whole=False)
        landed += whole_hit
        if not whole_hit:
            said = sweep.finish()
            assert said <= trials_hit
            landed += said
            for name in TRIALS:
                assert_same_run(tmp_path / "whole" / "trials" / name, out / "trials" / name)
        now = finished(out)
        assert kept.items() <= now.items()  # what has finished is never begun again
        if len(now) == len(TRIALS) and not whole_hit:
            number, now = number + 1, {}
            if landed >= kills():
                break
        kept = now
    note(landed, f"kills of sweep or trial, over {number} sweeps, each the same bits in the end")
