"""Runs that are stopped again and again, by a kill or a full disk, continue to the bits of a whole run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults import Ended, Nursery, random_kill
from fuzz import kills
from same_run import assert_same_run
from small_runs import ONLINE_RUN, settings, small_online, trained, write_store
from tried import note

from trajrl.core.rng import stream
from trajrl.training import loop
from trajrl.training.run_dir import checkpoint

pytestmark = pytest.mark.timeout(int(os.environ.get("TRAJRL_FUZZ_SECONDS", "7200")))
MODULES = (
    "trajrl.cli.offline trajrl.cli.online trajrl.training.loop trajrl.training.build trajrl.envs.toy "
    "trajrl.agents.td3_bc"
)
Same = Callable[[Path], None]


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    nursery = Nursery(MODULES, tmp_path_factory.mktemp("nursery") / "log")
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


@pytest.fixture
def offline(store, tmp_path) -> tuple[list[str], Same]:
    """Return the command of an offline run, and what looks whether a folder holds the whole of it."""
    trained(tmp_path / "whole", store, agent="td3_bc")
    line = ["run.py", "offline", "--data", str(store), "--agent", "td3_bc", "--sampler", "cluster"]
    line += ["--steps", "25", "--batch-size", "16", "--preset", "demo", "--resume-or-start"]
    line += ["--set", *settings("td3_bc")]
    return line, lambda folder: assert_same_run(tmp_path / "whole", folder)


@pytest.fixture
def online(store, tmp_path) -> tuple[list[str], Same]:
    """Return the same of an online run."""
    trained(tmp_path / "offline", store, agent="td3_bc", steps=10)
    loop.online(small_online(tmp_path / "whole", tmp_path / "offline"))
    line = [
        "run.py",
        "online",
        "--from",
        str(tmp_path / "offline"),
        "--sampler",
        "priority",
        "--resume-or-start",
    ]
    line += ["--set", *(f"{name}={value}" for name, value in ONLINE_RUN.items())]
    episodes = (tmp_path / "whole" / "journal" / "episodes.journal").read_bytes()

    def same(folder: Path) -> None:
        assert_same_run(tmp_path / "whole", folder)
        assert (folder / "journal" / "episodes.journal").read_bytes() == episodes

    return line, same


class Stopped:
    """Runs a command in one folder after the other, stopping it on the way; what ends must be whole."""

    def __init__(self, nursery: Nursery, command: tuple[list[str], Same], tmp_path: Path) -> None:
        self.nursery, (self.line, self.same), self.under = nursery, command, tmp_path
        self.number, self.newest = 0, -1
        self.whole = self.session()
        assert self.whole.code == 0, self.whole.output

    @property
    def folder(self) -> Path:
        """Return the folder of the run under way."""
        return self.under / f"run{self.number}"

    def session(self, **fault: Any) -> Ended:
        """Begin the run or continue it; no checkpoint may be lost, and what ends must be whole."""
        ended = self.nursery.run([*self.line, "--out", str(self.folder)], self.folder, **fault)
        found = checkpoint.newest(self.folder / "checkpoints")
        step = -1 if found is None else int(found.name.removeprefix("step-"))
        assert step >= self.newest, f"a checkpoint of step {self.newest} was lost"
        self.newest = step
        if not ended.killed and ended.code == 0:
            self.same(self.folder)
            self.number, self.newest = self.number + 1, -1
        return ended

    def finish(self) -> None:
        """Let the last run come to its end."""
        ended = self.session()
        assert ended.code == 0, ended.output


def assert_survives_kills(
    what: str, nursery: Nursery, command: tuple[list[str], Same], tmp_path: Path
) -> None:
    """Kill a command until enough kills have landed."""
    stopped, rng, landed = Stopped(nursery, command, tmp_path), stream(0, f"kills/{what}"), 0
    while landed < kills():
        ended = stopped.session(**random_kill(rng, stopped.whole.num_writes, 1.5))
        assert ended.killed or ended.code == 0, ended.output
        landed += ended.killed
    stopped.finish()
    note(landed, f"kills of {what}, over {stopped.number} runs, each the same bits in the end")


def assert_survives_full_disks(
    what: str, nursery: Nursery, command: tuple[list[str], Same], tmp_path: Path
) -> None:
    """Let the disk of a command fill up, at any byte; each time one line says which file did not fit."""
    stopped, rng, full = Stopped(nursery, command, tmp_path), stream(0, f"full/{what}"), 0
    while full < kills(4):
        folder = stopped.folder
        ended = stopped.session(room=int(rng.integers(stopped.whole.num_bytes)))
        assert not ended.killed
        if ended.code:
            full += 1
            assert "Traceback" not in ended.output
            (line,) = [line for line in ended.output.splitlines() if line.startswith("error: ")]
            assert str(folder) in line
            assert "No space left on device" in line
    stopped.finish()
    note(full, f"full disks of {what}, over {stopped.number} runs, each the same bits in the end")


def test_a_killed_offline_run_continues_to_the_same_bits(nursery, offline, tmp_path):
    assert_survives_kills("offline", nursery, offline, tmp_path)


@pytest.mark.slow
def test_a_killed_online_run_continues_to_the_same_bits_and_episodes(nursery, online, tmp_path):
    assert_survives_kills("online", nursery, online, tmp_path)


@pytest.mark.slow
def test_a_full_disk_stops_an_offline_run_in_one_line_and_it_continues_to_the_same_bits(
    nursery, offline, tmp_path
):
    assert_survives_full_disks("offline", nursery, offline, tmp_path)


@pytest.mark.slow
def test_a_full_disk_stops_an_online_run_in_one_line_and_it_continues_to_the_same_bits(
    nursery, online, tmp_path
):
    assert_survives_full_disks("online", nursery, online, tmp_path)


@pytest.mark.parametrize("what", ["offline", "online"])
def test_a_run_killed_before_its_config_is_started_or_resumed_as_it_stands(what, nursery, request, tmp_path):
    """Without config.json --resume names what is there; with it, however early, the same bits come out."""
    line, same = request.getfixturevalue(what)
    strict = ["--resume" if word == "--resume-or-start" else word for word in line]
    for write in range(1, 9):
        folder = tmp_path / f"early{write}"
        assert nursery.run([*line, "--out", str(folder)], folder, after_writes=write).killed
        known = (folder / "config.json").exists()
        ended = nursery.run([*strict, "--out", str(folder)], folder)
        assert ended.code == (0 if known else 1), ended.output
        if known:
            same(folder)
            break
        assert f"{folder} holds no run to resume: it has no config.json" in ended.output
    assert known
    assert write > 1
    note(write - 1, f"kills of {what} before its config.json, one at each write")
    again = nursery.run([*line, "--out", str(tmp_path / "early1")], tmp_path / "early1")
    assert again.code == 0, again.output
    same(tmp_path / "early1")
