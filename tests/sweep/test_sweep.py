"""Sweeps that are killed: finished trials are kept, others continue, by either engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from small_runs import settings, write_store
from small_sweeps import at_work, wait, words
from together import ROOT, free_port

from trajrl.cli.main import dispatch
from trajrl.sweep.grid import trials
from trajrl.sweep.process import attempts

ENGINES = ["local", pytest.param("ray", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return write_store(tmp_path_factory.mktemp("store") / "point.h5", 16)


def begun(out: Path, name: str) -> bool:
    return (out / "trials" / name / "checkpoints" / "latest").exists()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.timeout(900)
def test_a_sweep_killed_half_way_goes_on(engine, store, tmp_path, capsys):
    if engine == "ray":
        pytest.importorskip("ray", reason="ray is not installed")
    out, steps = tmp_path / "sweep", {"local": 200, "ray": 1_500}[engine]  # Ray notices a death late
    more = ["--engine", engine, "--workers", "1"]
    first = subprocess.Popen(
        [sys.executable, "run.py", *words(store, out, *more, steps=steps)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait(lambda: begun(out, "cluster-s0") or first.poll() is not None)
    assert (out / "trials" / "uniform-s0" / "summary.json").exists()
    first.send_signal(signal.SIGKILL)
    assert "[1 of 2] uniform-s0 finished" in first.communicate()[0]
    wait(lambda: not at_work(out), 30)
    written = (out / "trials" / "uniform-s0" / "summary.json").stat().st_mtime_ns
    assert not (out / "trials" / "cluster-s0" / "summary.json").exists()

    assert dispatch([*words(store, out, *more, steps=steps), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (answer["finished"], answer["failed"], answer["begun"]) == (2, 0, 0)
    assert (out / "trials" / "uniform-s0" / "summary.json").stat().st_mtime_ns == written
    assert "continuing with" in (out / "logs" / "cluster-s0.txt").read_text()
    found = pd.read_csv(out / "results.csv")
    assert found["attempts"].tolist() == [1, 2]
    assert found["grid.sampler"].tolist() == found["sampler"].tolist() == ["uniform", "cluster"]
    assert found["steps"].tolist() == [steps, steps]
    assert found["last"].notna().all()


@pytest.mark.slow
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
    assert "continuing with" in both[1].log.read_text()
    assert "cluster-s0 was killed" in said
    assert "2 of 2 trials have finished" in said


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.timeout(900)
def test_ctrl_c_saves_a_checkpoint_and_tells_the_results_so_far(engine, store, tmp_path):
    if engine == "ray":
        pytest.importorskip("ray", reason="ray is not installed")
    out = tmp_path / "sweep"
    more, steps = ["--engine", engine, "--workers", "1"], {"local": 600, "ray": 1_500}[engine]
    sweep = subprocess.Popen(
        [sys.executable, "run.py", *words(store, out, *more, steps=steps, saved_every=steps // 10)], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
    )  # fmt: skip
    wait(lambda: begun(out, "cluster-s0") or sweep.poll() is not None)
    os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does
    said = sweep.communicate()[0]
    assert (sweep.returncode, at_work(out)) == (130, []), said
    assert said.splitlines()[-1] == "interrupted"
    assert "1 of 2 trials have finished" in said
    assert "Traceback" not in said
    found = pd.read_csv(out / "results.csv")
    assert found["state"].tolist() == ["finished", "begun"]
    saved = int((out / "trials" / "cluster-s0" / "checkpoints" / "latest").read_text().split("-")[1])
    assert saved % (steps // 10)  # not one of the schedule: that of the interrupt


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_joins_a_cluster_that_runs_already_only_if_told_so(store, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    program, port = str(Path(sys.executable).with_name("ray")), free_port()
    head = ["start", "--head", "--num-cpus", "2", "--port", str(port), "--include-dashboard", "false"]
    cluster = subprocess.Popen(
        [program, *head, "--object-store-memory", "100000000", "--block"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert any("Ray runtime started" in line for line in cluster.stdout)
        for name, where in (("joined", ["--address", f"127.0.0.1:{port}"]), ("own", [])):
            asked = words(store, tmp_path / name, "--engine", "ray", "--json", *where, steps=20)
            sweep = [sys.executable, "run.py", *asked]
            done = subprocess.run(sweep, cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            assert json.loads(done.stdout.splitlines()[-1])["finished"] == 2
        assert cluster.poll() is None  # the sweep leaves it running
    finally:
        cluster.send_signal(signal.SIGTERM)
        cluster.communicate(timeout=60)


def test_an_address_where_nobody_listens_is_refused_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("trajrl.sweep.on_ray.imported", lambda: (None, None))
    address = f"127.0.0.1:{free_port()}"
    grid = ["sweep", "--grid", "sampler=uniform,top", "--agent", "sac", "--engine", "ray"]
    assert dispatch([*grid, "--address", address, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert f"no Ray cluster answers at {address} (" in error
    assert error.count("\n") == 1


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


@pytest.mark.slow
def test_seeds_of_a_cell_train_in_one_process(store, tmp_path, capsys):
    out = tmp_path / "sweep"
    assert dispatch([*words(store, out, "--seeds", "2", "--together", steps=20), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (answer["finished"], answer["failed"]) == (4, 0)
    assert sorted(path.name for path in (out / "logs").iterdir()) == [
        "cluster-s0-s1.txt",
        "uniform-s0-s1.txt",
    ]
    assert len(pd.read_csv(out / "results.csv")) == 4
    assert "2 seeds as one program" in (out / "logs" / "uniform-s0-s1.txt").read_text()
