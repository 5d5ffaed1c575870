"""Kills at random points of each thing that writes: what was reported saved is there, and continuing works.

A kill counts where it landed: the child had not ended.  Some come at a write, some of them half done, and
some after a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faults import Ended, Nursery, random_kill
from fuzz import kills
from tried import note

from trajrl.core.rng import stream
from trajrl.store.file.verify import verify
from trajrl.store.journal import replay
from trajrl.store.store import TrajectoryStore
from trajrl.training.run_dir import checkpoint

LIMIT = int(os.environ.get("TRAJRL_FUZZ_SECONDS", "7200"))
pytestmark = pytest.mark.timeout(LIMIT)
LIGHT = "trajrl.formats trajrl.formats.npz.reader trajrl.store.file.writer trajrl.store.journal h5py"
HEAVY = "torch trajrl.training.run_dir.checkpoint"

IMPORT = """
import sys
from pathlib import Path
from trajrl.formats import import_source, open_source
for again in range(3):
    found = import_source(open_source({source!r}), Path({out!r}), overwrite=True)
    print("saved", found["episodes"], flush=True)
assert "torch" not in sys.modules
"""
APPEND = """
import sys
import numpy as np
from trajrl import Episode
from trajrl.store.journal import Journal
with Journal({folder!r}) as journal:
    for e in range(journal.num_episodes, journal.num_episodes + 12):
        rows = np.full((41, 5), e, np.float32)
        print("saved", journal.append(Episode(rows, rows[1:, :2], rows[1:, 0], False)), flush=True)
assert "torch" not in sys.modules
"""
SAVE = """
import torch
from pathlib import Path
from trajrl.training.run_dir import checkpoint
folder = Path({folder!r})
found = checkpoint.newest(folder)
first = checkpoint.load(found)["run"]["step"] + 1 if found else 0
for step in range(first, first + 6):
    parts = {{"agent": {{"net": {{"w": torch.full((2000,), float(step))}}}}, "run": {{"step": step}}}}
    checkpoint.save(folder, step, parts)
    print("saved", step, flush=True)
"""


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    nursery = Nursery(LIGHT, tmp_path_factory.mktemp("light") / "log")
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def heavy(tmp_path_factory):
    nursery = Nursery(HEAVY, tmp_path_factory.mktemp("heavy") / "log")
    yield nursery
    nursery.close()


def saved(ended: Ended) -> list[int]:
    """Return the numbers that the child reported saved, but for a line that the kill cut short."""
    lines = ended.output.splitlines(keepends=True)
    return [int(line.split()[1]) for line in lines if line.startswith("saved") and line.endswith("\n")]


def test_a_line_that_the_kill_cut_short_is_no_report():
    assert saved(Ended(True, None, -9, "saved 1\nsaved 12\nsaved 1")) == [1, 12]
    assert saved(Ended(True, None, -9, "saved 1\nsaved")) == [1]


def land(nursery: Nursery, what: str, program, under: Path, writes: int, after_each: Callable) -> int:
    """Kill a program until enough kills have landed, looking after each; returns how many did."""
    rng, landed, tried = stream(0, f"kills/{what}"), 0, 0
    while landed < kills():
        ended = nursery.run(program, under, **random_kill(rng, writes, 0.3))
        tried += 1
        assert ended.killed or ended.code == 0, ended.output
        assert tried < 20 * kills(), f"{landed} of {tried} kills landed before the end"
        landed += ended.killed
        after_each(ended)
    note(landed, f"kills of {what}, of {tried} aimed")
    return landed


def test_a_killed_import_leaves_the_store_that_was_there_or_the_new_one(light, tmp_path):
    from foreign import d4rl, npz

    source, out = npz(tmp_path / "x.npz", d4rl(400, ends=(199, 399))), tmp_path / "out" / "x.h5"
    out.parent.mkdir()
    program = IMPORT.format(source=str(source), out=str(out))
    whole, known = light.run(program, out.parent), []
    assert (whole.code, saved(whole)) == (0, [2, 2, 2]), whole.output

    def look(ended: Ended) -> None:
        known.extend(saved(ended))
        assert len(TrajectoryStore.open(out)) == 2
        assert list(verify(out)) == []

    assert land(light, "import", program, out.parent, whole.num_writes, look) >= kills()
    light.run(program, out.parent)
    assert [path.name for path in out.parent.iterdir()] == ["x.h5"]


def test_a_killed_journal_keeps_every_episode_it_returned_from(light, tmp_path):
    program, kept = APPEND.format(folder=str(tmp_path / "j")), []

    def look(ended: Ended) -> None:
        kept.extend(saved(ended))
        found = list(replay(tmp_path / "j" / "episodes.journal"))
        assert [meta["number"] for _, meta in found] == list(range(len(found)))
        assert len(kept) <= len(found)
        assert set(kept) <= set(range(len(found)))
        assert all((episode.obs == e).all() for e, (episode, _) in enumerate(found))
        kept[:] = range(len(found))  # one whose flush had just ended may be there too

    writes = light.run(APPEND.format(folder=str(tmp_path / "whole")), tmp_path / "whole").num_writes
    land(light, "journal", program, tmp_path / "j", writes, look)


def test_a_killed_checkpoint_is_whole_or_the_one_before_is_there(heavy, tmp_path):
    program, last = SAVE.format(folder=str(tmp_path / "c")), [-1]

    def look(ended: Ended) -> None:
        last[0] = max([last[0], *saved(ended)])
        found = checkpoint.newest(tmp_path / "c")
        step = -1 if found is None else checkpoint.load(found)["run"]["step"]
        assert step >= last[0], (step, last)
        last[0] = step

    writes = heavy.run(SAVE.format(folder=str(tmp_path / "whole")), tmp_path / "whole").num_writes
    land(heavy, "checkpoint", program, tmp_path / "c", writes, look)


READ = """
import time
from pathlib import Path
from trajrl.store.journal import replay
from trajrl.store.store import TrajectoryStore
Path({mark!r}).write_text("begun")
counts = []
for _ in range(40):
    episodes = list(replay(Path({journal!r})))
    assert all((episode.obs == e).all() for e, (episode, _) in enumerate(episodes))
    store = TrajectoryStore.open({store!r})
    assert len({{len(episode) for episode in store.episodes()}}) == 1
    counts.append(len(episodes) + len(store))
    time.sleep(0.002)
print("saw", min(counts), max(counts))
"""


def test_readers_open_what_is_being_written(light, tmp_path):
    from trajrl.store.episode import Episode
    from trajrl.store.file.writer import StoreWriter
    from trajrl.store.journal import Journal

    def write(length: int) -> None:
        with StoreWriter(tmp_path / "x.h5") as writer:
            for e in range(length):
                writer.append(
                    Episode(np.full((length + 1, 3), e), np.zeros((length, 2)), np.ones(length), False)
                )

    write(3)
    mark = tmp_path / "mark"
    with Journal(tmp_path) as journal:
        code = READ.format(mark=str(mark), journal=str(journal.path), store=str(tmp_path / "x.h5"))
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        reader = subprocess.Popen(
            [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        number = 0
        while reader.poll() is None:
            rows = np.full((200, 5), number, np.float32)
            journal.append(Episode(rows, rows[1:, :2], rows[1:, 0], False))
            write(3 + number % 5)
            number += 1
        said, wrong = reader.communicate()
    assert reader.returncode == 0, wrong
    least, most = map(int, said.split()[1:])
    assert most > least  # it read while there was writing
