"""What ends a run before its time says what, where and how to resume; and resuming gives the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from same_run import assert_same_run
from small_runs import reopened, settings, small_online, small_run, trained, write_store

from trajrl.cli.main import dispatch
from trajrl.store.episode import Episode
from trajrl.store.file.writer import StoreWriter
from trajrl.store.store import TrajectoryStore
from trajrl.store.window import Anchors
from trajrl.training import guards, loop
from trajrl.training.pending_updates import Read
from trajrl.training.role_batches import Drawn
from trajrl.training.run_dir import checkpoint, checkpoint_parts

ROOT = Path(__file__).parents[2]
BOUND_BY_MODES = """
import ctypes
libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
libc.capget(header, sets)  # root may otherwise write where no mode allows it
sets[0] &= ~0b110
sets[1] &= ~0b110
assert libc.capset(header, sets) == 0
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


def words(store, folder, *more: str) -> list[str]:
    """Return the command of the run that `trained` makes, to be resumed."""
    line = [
        "offline",
        "--data",
        str(store),
        "--agent",
        "trajectory_ql",
        "--sampler",
        "cluster",
        "--steps",
        "25",
    ]
    line += ["--batch-size", "16", "--preset", "demo", "--resume-or-start", "--out", str(folder), *more]
    return [*line, "--set", *settings("trajectory_ql")]


def in_a_child(line: list[str], before: str = "") -> subprocess.CompletedProcess:
    """Run a command in a process of its own, after some code."""
    code = f"{before}\nfrom trajrl.cli.main import main\nmain({line!r})"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def one_line(ended: subprocess.CompletedProcess) -> str:
    """Return the reason of a failure: one line, and no traceback."""
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, ended.stderr
    return errors[0]


def poisoned(source: Path, path: Path) -> Path:
    """Copy a store; episode 7 gives a reward that is finite, and too large to square."""
    with StoreWriter(path) as writer:  # an environment would give the data its own rewards
        for e, episode in enumerate(TrajectoryStore.open(source).episodes()):
            rewards = np.full(len(episode), 3e38, np.float32) if e == 7 else episode.rewards
            writer.append(Episode(episode.obs, episode.actions, rewards, episode.terminated))
    return path


def test_a_loss_that_is_not_a_number_names_the_term_the_batch_and_the_episode(store, tmp_path):
    run = small_run(tmp_path / "a", poisoned(store, tmp_path / "x.h5"), sampler="uniform", reward="no")
    with pytest.raises(ValueError, match="is not a finite number after batch") as caught:
        loop.offline(run)
    said, failed = str(caught.value), run.step + 1
    assert said.startswith("critic/")
    assert f"batch {failed} (seed 0)" in said
    assert "of episodes 7; " in said
    batch = checkpoint_parts.read_part(tmp_path / "a" / "checkpoints" / f"failed-{failed:09d}", "batch")
    assert 7 in batch["episode"]
    assert not np.isfinite(batch["td_error"][batch["episode"] == 7]).any()
    assert "critic/loss" in batch["terms"]


def test_rows_that_were_not_used_stop_nothing():
    anchors = Anchors(np.arange(2), np.zeros(2, np.int64), np.ones(2, np.float32))
    read = Read(1, Drawn(anchors, None), np.array([np.nan, 2.0], np.float32), {"critic/loss": 1.0})
    assert guards.require_finite(None, read) is None  # a refusal would ask the run for its folder


def test_the_checkpoint_before_a_bad_batch_stays_the_latest_and_is_whole(store, tmp_path, monkeypatch):
    run = small_run(tmp_path / "a", store)
    plain = run.agent.update

    def spoilt(batch, rng):
        update = plain(batch, rng)
        if run.step == 16:
            update.metrics["actor/bc_loss"] = torch.tensor(torch.nan)
        return update

    monkeypatch.setattr(run.agent, "update", spoilt)
    with pytest.raises(
        ValueError, match=r"actor/bc_loss is not .* step-000000014 is from before it: --resume"
    ):
        loop.offline(run)
    run.logger.close()
    trained(tmp_path / "whole", store)
    loop.offline(reopened(tmp_path / "a"))
    assert_same_run(tmp_path / "whole", tmp_path / "a")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"),
        MemoryError(),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
    ],
    ids=["device", "host", "torch on the host"],
)
def test_out_of_memory_is_one_line_and_the_run_goes_on_from_its_checkpoint(
    store, tmp_path, monkeypatch, error
):
    run = small_run(tmp_path / "a", store)
    plain = run.agent.update

    def greedy(batch, rng):
        if run.step == 9:
            raise error
        return plain(batch, rng)

    monkeypatch.setattr(run.agent, "update", greedy)
    said = r"out of memory on cpu after 9 updates, batches of 16 windows .*--batch-size.*step-000000007"
    with pytest.raises(ValueError, match=said) as caught:
        loop.offline(run)
    assert "\n" not in str(caught.value)
    run.logger.close()
    trained(tmp_path / "whole", store)
    loop.offline(reopened(tmp_path / "a"))
    assert_same_run(tmp_path / "whole", tmp_path / "a")


def test_an_error_that_is_no_lack_of_memory_is_not_called_one(store, tmp_path, monkeypatch):
    run = small_run(tmp_path / "a", store)

    def broken(batch, rng):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(run.agent, "update", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        loop.offline(run)


def test_a_disk_that_fills_up_loses_no_checkpoint_and_the_run_goes_on_to_the_same_bits(store, tmp_path):
    trained(tmp_path / "whole", store)
    run = small_run(tmp_path / "a", store)
    while run.step < 8:
        loop.train_step(run)
        loop.after_step(run)
    run.logger.close()
    limit = max(p.stat().st_size for p in (tmp_path / "a").rglob("*.pt")) // 2
    full = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))"
    line = one_line(in_a_child(words(store, tmp_path / "a"), full))
    assert "could not be written: File too large; the checkpoints before it are whole" in line
    kept = {path.name for path in (tmp_path / "a" / "checkpoints").iterdir()}
    assert {name for name in kept if name.startswith(("step", "."))} == {"step-000000007"}
    assert dispatch(words(store, tmp_path / "a")) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "a")


@pytest.mark.slow
def test_a_folder_that_may_no_longer_be_written_to_is_named_and_the_run_goes_on(store, tmp_path):
    trained(tmp_path / "whole", store)
    run = small_run(tmp_path / "a", store)
    while run.step < 8:
        loop.train_step(run)
        loop.after_step(run)
    run.logger.close()
    checkpoints = tmp_path / "a" / "checkpoints"
    checkpoints.chmod(0o555)
    line = one_line(in_a_child(words(store, tmp_path / "a"), BOUND_BY_MODES))
    assert line.endswith("a/checkpoints may not be written to: Permission denied")
    checkpoints.chmod(0o755)
    (checkpoints / "lock").touch()
    checkpoints.chmod(0o555)
    line = one_line(in_a_child(words(store, tmp_path / "a"), BOUND_BY_MODES))
    assert "could not be written: Permission denied" in line
    assert checkpoint.newest(checkpoints).name == "step-000000007"
    checkpoints.chmod(0o755)
    assert dispatch(words(store, tmp_path / "a")) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "a")


JUMPING = """
import itertools, time
jumps = itertools.cycle((0, -86400, 3e9, -1e9, 7))
real = time.time
time.time = lambda: real() + next(jumps)
"""


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(store, tmp_path):
    trained(tmp_path / "whole", store)
    run = small_run(tmp_path / "a", store)
    while run.step < 15:
        loop.train_step(run)
        loop.after_step(run)
    run.logger.close()
    for i, path in enumerate(sorted((tmp_path / "a" / "checkpoints").glob("step-*"))):
        os.utime(path, (10**9 - 10**6 * i,) * 2)  # the newest looks the oldest
    ended = in_a_child(words(store, tmp_path / "a"), JUMPING)
    assert ended.returncode == 0, ended.stderr
    assert f"continuing with {tmp_path / 'a'} from step 14" in ended.stdout
    assert_same_run(tmp_path / "whole", tmp_path / "a")
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert 0 < summary["seconds"] < 600


DEAF = """
import socket
def refuse(*_):
    raise AssertionError("something listens on the network")
socket.socket.listen = socket.socket.bind = refuse
"""


@pytest.mark.parametrize(
    "line", [[], pytest.param(["report"], marks=pytest.mark.slow)], ids=["offline", "report"]
)
def test_nothing_listens_on_the_network(store, tmp_path, line):
    trained(tmp_path / "a", store, steps=5)
    line = [*line, str(tmp_path / "a"), "--out", str(tmp_path / "r.html")] if line else []
    ended = in_a_child(line or words(store, tmp_path / "a"), DEAF)
    assert ended.returncode == 0, ended.stderr


def test_a_second_process_on_a_run_is_refused_and_the_first_is_not_disturbed(store, tmp_path):
    from trajrl.training.run_dir.folder import lock

    run = small_run(tmp_path / "a", store)
    lock(tmp_path / "a")

    def stand() -> list:
        places = (tmp_path / "a").rglob("*")
        return sorted((p.name, p.stat().st_mtime_ns) for p in places if p.name != "lock")

    before = stand()
    line = one_line(in_a_child(words(store, tmp_path / "a")))
    assert "another process is at work on" in line
    assert stand() == before
    loop.offline(run)


@pytest.mark.slow
def test_another_directory_gives_the_same_bits(store, tmp_path, monkeypatch):
    trained(tmp_path / "whole", store)
    elsewhere = tmp_path / "else" / "where"
    elsewhere.mkdir(parents=True)
    (elsewhere / "copy.h5").write_bytes(store.read_bytes())
    monkeypatch.chdir(elsewhere)
    trained(Path("a"), Path("copy.h5"))
    assert_same_run(tmp_path / "whole", elsewhere / "a")


def test_evaluation_on_or_off_changes_no_weight_online(store, tmp_path):
    from same_run import final, same_tree

    trained(tmp_path / "offline", store, agent="td3_bc", steps=10)
    for name, changes in (
        ("on", {}),
        ("off", {"eval_every": 0, "eval_episodes": 1, "last_eval_episodes": 1}),
    ):
        loop.online(small_online(tmp_path / name, tmp_path / "offline", **changes))
    on, off = final(tmp_path / "on"), final(tmp_path / "off")
    assert len(on["evals"]) > len(off["evals"])
    assert same_tree(on["state"]["agent"], off["state"]["agent"])
    assert same_tree(on["state"]["interaction"], off["state"]["interaction"])
