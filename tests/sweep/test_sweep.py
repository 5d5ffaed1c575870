"""Sweeps that are killed: finished trials are kept, others go on, by either engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from small_runs import settings, write_store
from small_sweeps import at_work, wait, words
from together import ROOT

from trajrl.cli.main import dispatch
from trajrl.sweep.grid import trials
from trajrl.sweep.process import attempts

ENGINES = ["local", pytest.param("ray", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return write_store(tmp_path_factory.mktemp("store") / "point.h5", 16)


def begun(out: Path, name: str) -> bool:
    return (out / "trials" / name / "checkpoints" / "latest").exists()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.timeout(900)
def test_a_sweep_killed_half_way_goes_on(engine, store, tmp_path, capsys):
    if engine == "ray":
        pytest.importorskip("ray", reason="ray is not installed")
    out = tmp_path / "sweep"
    more = ["--engine", engine, "--workers", "1"]
    first = subprocess.Popen(
        [sys.executable, "run.py", *words(store, out, *more)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    wait(lambda: begun(out, "cluster-s0") or first.poll() is not None)
    assert (out / "trials" / "uniform-s0" / "summary.json").exists()
    first.send_signal(signal.SIGKILL)
    assert "[1 of 2] uniform-s0 finished" in first.communicate()[0]
    wait(lambda: not at_work(out), 30)
    written = (out / "trials" / "uniform-s0" / "summary.json").stat().st_mtime_ns
    assert not (out / "trials" / "cluster-s0" / "summary.json").exists()

    assert dispatch([*words(store, out, *more), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (answer["finished"], answer["failed"], answer["begun"]) == (2, 0, 0)
    assert (out / "trials" / "uniform-s0" / "summary.json").stat().st_mtime_ns == written
    assert "going on with" in (out / "logs" / "cluster-s0.txt").read_text()
    found = pd.read_csv(out / "results.csv")
    assert found["attempts"].tolist() == [1, 2]
    assert found["grid.sampler"].tolist() == found["sampler"].tolist() == ["uniform", "cluster"]
    assert found["steps"].tolist() == [200, 200]
    assert found["last"].notna().all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.timeout(900)
def test_a_trial_whose_worker_is_killed_is_retried_from_its_checkpoint(engine, store, tmp_path):
    if engine == "ray":
        pytest.importorskip("ray", reason="ray is not installed")
    out = tmp_path / "sweep"
    sweep = subprocess.Popen(
        [sys.executable, "run.py", *words(store, out, "--engine", engine, "--workers", "2")], cwd=ROOT,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait(lambda: begun(out, "cluster-s0"))
    (victim,) = [pid for pid in at_work(out) if f"{out}/trials/cluster-s0" in cmdline(pid)]
    os.kill(parent(victim) if engine == "ray" else victim, signal.SIGKILL)
    said = sweep.communicate()[0]
    assert sweep.returncode == 0, said
    both = trials(out, {"sampler": ["uniform", "cluster"]}, (), [0])
    assert [attempts(trial) for trial in both] == [1, 2]
    assert "going on with" in both[1].log.read_text()
    assert "cluster-s0 was killed" in said
    assert "2 of 2 trials have finished" in said


def cmdline(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def parent(pid: int) -> int:
    return int(
        next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "PPid" in line).split()[
            1
        ]
    )


def test_a_failing_trial_is_named_and_the_others_run(store, tmp_path, capsys):
    out = tmp_path / "sweep"
    grid = [
        "sweep",
        "--grid",
        f"data={store},{tmp_path}/nowhere.h5",
        "--out",
        str(out),
        "--agent",
        "diffusion_ql",
    ]
    rest = ["--steps", "3", "--batch-size", "8", "--set", *settings("diffusion_ql")]
    assert dispatch([*grid, *rest]) == 1
    said = capsys.readouterr().out
    assert "1 of 2 trials have finished" in said
    assert "failed: " in said
    assert "nowhere.h5" in said
    found = pd.read_csv(out / "results.csv")
    assert sorted(found["state"]) == ["failed", "finished"]
    assert dispatch([*grid, *rest, "agent.eta=2.0"]) == 1
    assert "holds a sweep with other settings" in capsys.readouterr().err
