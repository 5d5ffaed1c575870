"""Processes of one run that do not draw alike, or do not read the same data, end it with one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_runs import settings, write_store
from together import ended, start

from trajrl.core.distributed import Team
from trajrl.store.store import TrajectoryStore
from trajrl.store.window import Anchors
from trajrl.training.rank_check import RankCheck
from trajrl.training.run_dir import checkpoint
from trajrl.training.run_dir.csv_log import read_csv

ASTRAY = """
import os, sys
from trajrl.cli.main import main
from trajrl.samplers.uniform import UniformSampler
right, drawn = UniformSampler.sample, []

def wrong(self, rng, n):
    anchors = right(self, rng, n)
    drawn.append(n)
    if len(drawn) == 8:
        anchors.step[-1] = (anchors.step[-1] + 1) % self.store.table.length[anchors.episode[-1]]
    return anchors

if os.environ["RANK"] == "1":
    UniformSampler.sample = wrong
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


def words(store: Path | str, out: Path, **changes) -> list[str]:
    return [
        "offline", "--data", str(store), "--agent", "diffusion_ql", "--sampler", "uniform", "--steps", "25",
        "--batch-size", "17", "--preset", "demo", "--out", str(out),
        "--set", *settings("diffusion_ql", **{"checkpoint_every": 7, "log_every": 5, **changes}),
    ]  # fmt: skip


def test_one_anchor_drawn_otherwise_ends_the_run_before_anything_of_it_is_written(store, tmp_path):
    out = tmp_path / "run"
    first, second = ended(start(2, ["-c", ASTRAY, *words(store, out)]), codes=(1,))
    (line,) = [line for line in first.splitlines() if line.startswith("error")]
    assert "process 1 drew other windows than process 0 in updates 8 to 10" in line
    assert f"step-000000007 is from before it: --resume --out {out} continues from there" in line
    assert "Traceback" not in first
    assert second == ""
    assert [row["step"] for row in read_csv(out / "metrics.csv")] == ["5"]
    assert checkpoint.newest(out / "checkpoints").name == "step-000000007"


def test_other_data_under_the_same_name_is_refused_before_anything_is_learned(store, tmp_path):
    """Machines that do not share a file system."""
    for rank, episodes in enumerate((12, 13)):
        (tmp_path / str(rank)).mkdir()
        write_store(tmp_path / str(rank) / "point.h5", episodes)
    code = "import os, sys; os.chdir(os.environ['RANK']); sys.path.insert(0, sys.argv[1]); "
    code += "from trajrl.cli.main import main; main(sys.argv[2:])"
    root = str(Path(__file__).parents[2])
    own = "/proc/self/cwd/point.h5"  # one absolute path, and another file in each process
    processes = start(2, ["-c", code, root, *words(own, tmp_path / "run")], place=tmp_path)
    first, second = ended(processes, codes=(1,))
    assert [line for line in first.splitlines() if "error" in line] == [
        "error: process 1 read other data than process 0: all must see the same files"
    ]
    assert second == ""
    assert not (tmp_path / "run").exists()


def test_every_part_of_the_anchors_counts(store):
    data = TrajectoryStore.open(store)

    def digest(*changed: tuple[int, int]) -> int:
        anchors = Anchors(np.arange(4), np.arange(4), np.ones(4, np.float32))
        for column, row in changed:
            anchors[column][row] += 1
        kept = RankCheck(Team(0, 2), data)
        kept.note(anchors)
        return kept.digest

    assert digest() == digest()
    assert len({digest(), digest((0, 3)), digest((1, 3)), digest((2, 3)), digest((1, 2))}) == 5


def test_the_digest_of_data_tells_copies_from_others(store, tmp_path):
    shutil.copy(store, tmp_path / "copy.h5")
    same, copy, other = (
        RankCheck(Team(0, 2), TrajectoryStore.open(path)).digest
        for path in (store, tmp_path / "copy.h5", write_store(tmp_path / "other.h5", 11))
    )
    assert same == copy != other


def test_alone_nothing_is_compared(store):
    kept = RankCheck(Team(), TrajectoryStore.open(store))
    kept.note(Anchors(np.arange(4), np.arange(4), np.ones(4, np.float32)))
    kept.require(1)
    assert (kept.digest, kept.checked) == (0, 1)
