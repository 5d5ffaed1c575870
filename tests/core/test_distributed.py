"""Runs of several processes: the same run as one process does, one folder, one voice, one end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from small_runs import reopened, settings, trained, write_store
from together import ROOT, ended, start

from trajrl.core import distributed
from trajrl.training import data, loop
from trajrl.training.run_dir import checkpoint, folder
from trajrl.training.run_dir.csv_log import read_csv


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


def words(
    store: Path, out: Path, *more: str, agent: str = "trajectory_ql", steps: int = 25, **changes
) -> list[str]:
    """Return the command of a tiny run."""
    return [
        "run.py", "offline", "--data", str(store), "--agent", agent, "--sampler", "cluster",
        "--steps", str(steps), "--batch-size", "17", "--preset", "demo", "--out", str(out), *more,
        "--set", *settings(agent, **changes),
    ]  # fmt: skip


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return every tensor of the networks in the newest checkpoint."""
    state = checkpoint.load(checkpoint.newest(folder / "checkpoints"))["agent"]
    nets = {name: part for name, part in state.items() if isinstance(part, dict) and "adam" not in part}
    return {f"{name}.{key}": value for name, part in nets.items() for key, value in part.items()}


def furthest(left: Path, right: Path) -> float:
    one, other = weights(left), weights(right)
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.slow
def test_two_processes_then_one_do_the_run_of_one(store, tmp_path):
    alone = trained(tmp_path / "alone", store, batch_size=17, **{"agent.chunk": 3, "agent.decay_steps": 25})
    said = ended(
        start(2, words(store, tmp_path / "two", steps=14, **{"agent.chunk": 3, "agent.decay_steps": 25}))
    )
    assert "14 steps in" in said[0]
    assert said[1] == ""
    assert len(read_csv(tmp_path / "two" / "evals.csv")) == 4  # two evaluations of two episodes, written once
    assert furthest(tmp_path / "two", tmp_path / "alone") > 1e-4  # there is something left to learn
    run = resumed(tmp_path / "two", steps=25)
    assert (run.step, furthest(tmp_path / "two", tmp_path / "alone") < 1e-5) == (25, True)
    left, right = (read_csv(folder / "metrics.csv")[0] for folder in (alone.folder, tmp_path / "two"))
    assert left.keys() == right.keys()
    assert float(left["offline/actor/bc_loss"]) == pytest.approx(
        float(right["offline/actor/bc_loss"]), abs=1e-5
    )


def resumed(folder: Path, steps: int):
    """Go on in one process, to a later end."""
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"steps": 14', f'"steps": {steps}'))
    run = reopened(folder)
    loop.offline(run)
    return run


def test_one_process_then_two(store, tmp_path):
    same = {"agent": "diffusion_ql", "agent.decay_steps": 25, "sampler.judge": "critic"}
    run = trained(tmp_path / "alone", store, batch_size=17, sampler="quality", **same)
    other = tmp_path / "two"
    trained(other, store, batch_size=17, sampler="quality", steps=7, **same)
    while folder._locks:  # this process is to let it go before two others take it
        folder._locks.pop().close()
    ended(start(2, ["run.py", "offline", "--resume", "--out", str(other), "--set", "steps=25"]))
    assert furthest(other, run.folder) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["td_error_rank", "q_uncertainty"])
def test_a_product_that_ranks_draws_in_two_processes_what_it_draws_in_one(metric, store, tmp_path):
    """By TD errors, gathered from all, and by the critics, whom all are asked about together."""
    same = {"agent": "diffusion_ql", "agent.decay_steps": 25, "sampler.left.clusters": 3}
    same |= {"sampler.right.metric": metric, "sampler.right.refresh_every": 4}
    alone = trained(tmp_path / "alone", store, batch_size=17, sampler="cluster*priority", **same)
    out = tmp_path / "two"
    ended(start(2, words(store, out, "--sampler", "cluster*priority", **same)))
    assert furthest(out, alone.folder) < 1e-5
    left, right = (pd.read_parquet(folder / "episodes.parquet") for folder in (alone.folder, out))
    assert left["draws"].tolist() == right["draws"].tolist()
    assert left["draws"].sum() == 25 * 17
    assert left["probability"].nunique() > 3  # there is a ranking within the clusters


def test_processes_map_one_file(store, tmp_path):
    from trajrl.training.resolve_config import resolve_config

    config = resolve_config({"data": str(store), "preset": "demo"})
    assert [data.open_data(config, shared).obs.base.flags.owndata for shared in (False, True)] == [
        True,
        False,
    ]


def test_the_death_of_one_ends_the_other_with_a_line(store, tmp_path):
    processes = start(2, words(store, tmp_path / "run", steps=100_000, log_every=1))
    wait_for(tmp_path / "run" / "metrics.csv")
    processes[1].send_signal(signal.SIGKILL)
    out = ended(processes, codes=(1, -signal.SIGKILL))[0]
    lines = [line for line in out.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert "another process of this run has ended" in lines[0]
    assert "Traceback" not in out


@pytest.mark.slow
def test_ctrl_c_in_any_process_is_a_checkpoint(store, tmp_path):
    processes = start(2, words(store, tmp_path / "run", steps=100_000, log_every=1, checkpoint_every=50_000))
    wait_for(tmp_path / "run" / "metrics.csv")
    processes[1].send_signal(signal.SIGINT)
    ended(processes, codes=(130,))
    assert checkpoint.newest(tmp_path / "run" / "checkpoints") is not None


@pytest.mark.slow
def test_an_interrupt_that_comes_twice_to_each_is_a_checkpoint(store, tmp_path):
    """A launcher passes on what its processes have heard already."""
    processes = start(2, words(store, tmp_path / "run", steps=100_000, log_every=1, checkpoint_every=50_000))
    wait_for(tmp_path / "run" / "metrics.csv")
    for pause in (0.0, 0.02, 0.1):
        time.sleep(pause)
        for process in processes:
            process.send_signal(signal.SIGINT)
    assert ["Traceback" in said for said in ended(processes, codes=(130,))] == [False, False]
    assert checkpoint.newest(tmp_path / "run" / "checkpoints") is not None


def test_a_batch_too_small_to_share_is_refused_before_anything_is_written(store, tmp_path):
    from trajrl.core.distributed import Team
    from trajrl.training import build
    from trajrl.training.resolve_config import resolve_config

    config = resolve_config({"data": str(store), "preset": "demo", "batch_size": 1})
    with pytest.raises(ValueError, match="1 rows cannot be shared by 2 processes; raise batch_size"):
        build.build_own(config, tmp_path, None, Team(1, 2))


@pytest.mark.slow
def test_what_the_first_refuses_is_said_once(store, tmp_path):
    said = ended(
        start(2, words(store, tmp_path / "run", agent="diffusion_ql", **{"agent.wdth": 3})), codes=(1,)
    )
    assert "did you mean 'width'" in said[0]
    assert "another process of this run has ended" in said[1]
    assert not (tmp_path / "run").exists()


def test_other_commands_refuse_several_processes():
    said = ended(start(2, ["run.py", "toy", "8gaussians"]), codes=(1,))
    assert said == ["error: 'toy' works in one process; torchrun is for: offline\n", ""]


@pytest.mark.slow
def test_torchrun_itself(store, tmp_path):
    program = Path(sys.executable).with_name("torchrun")
    done = subprocess.run(
        [str(program), "--nproc-per-node", "2", *words(store, tmp_path / "run", "--json")],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"steps": 25') == 1
    alone = trained(tmp_path / "alone", store, batch_size=17)
    assert furthest(tmp_path / "run", alone.folder) < 1e-5


def wait_for(path: Path, limit: float = 120.0) -> None:
    """Wait until a file is there and has rows."""
    until = time.monotonic() + limit
    while not (path.exists() and len(path.read_text().splitlines()) > 3):
        assert time.monotonic() < until, path
        time.sleep(0.05)


def test_a_process_whose_team_is_gone_promises_no_checkpoint(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")

    def gone() -> None:
        raise RuntimeError("connection closed by peer")

    with pytest.raises(ConnectionError, match="where the run has a checkpoint, --resume continues from it"):
        distributed._collect(gone)
