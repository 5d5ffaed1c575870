"""StoreWriter: atomic under SIGKILL, constant memory, and nothing of a refused episode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from episodes import counting, write
from faults import run_and_kill, run_to_end

from trajrl import TrajectoryStore
from trajrl.store.file.writer import StoreWriter

IMPORT = """
import sys
import numpy as np
from pathlib import Path
from trajrl import Episode
from trajrl.store.file.writer import StoreWriter

with StoreWriter(Path({path!r})) as writer:
    for e in range({episodes}):
        rows = np.full((2001, 20), e, np.float32)
        marks = {{"terminal": rows[1:, 0] > 1e9}}
        writer.append(Episode(rows, rows[1:, :3], rows[1:, 0], False, extras=marks))
assert "torch" not in sys.modules
"""


def program(path: Path, episodes: int) -> str:
    return IMPORT.format(path=str(path), episodes=episodes)


def left_behind(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir() if not entry.name.startswith("."))


def test_kill_at_every_stage_leaves_no_file_of_that_name(tmp_path):
    path = tmp_path / "x.h5"
    total = run_to_end(program(path, 8), tmp_path).num_writes
    path.unlink()
    assert total > 8
    for n in sorted({1, 2, total // 4, total // 2, 3 * total // 4, total - 2, total - 1}):
        run_and_kill(program(path, 8), tmp_path, after_writes=n, torn=n % 2 == 0)
        if path.exists():  # only the flush of the folder comes after the rename
            assert n > total - 2
            assert len(TrajectoryStore.open(path)) == 8
            path.unlink()
        assert left_behind(path) == []


def test_kill_at_a_random_time_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "x.h5"
    with StoreWriter(path) as writer:
        writer.append(counting(3))
    before = path.read_bytes()
    for seconds in (0.0, 0.02, 0.1):
        run_and_kill(program(path, 2000), tmp_path, after_seconds=seconds)
        assert path.read_bytes() == before


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "x.h5"
    run_and_kill(program(path, 8), tmp_path, after_writes=5)
    assert [entry.suffix for entry in tmp_path.iterdir()] == [".tmp"]
    with StoreWriter(path) as writer:
        writer.append(counting(3))
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.h5"]


def test_writer_at_work_is_left_alone_by_another_of_the_same_name(tmp_path):
    path = tmp_path / "x.h5"
    with StoreWriter(path) as first:
        first.append(counting(3))
        with StoreWriter(path) as second:
            second.append(counting(4))
        assert len(TrajectoryStore.open(path).episode(0)) == 4
    assert len(TrajectoryStore.open(path).episode(0)) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.h5"]


def test_error_in_the_source_leaves_nothing(tmp_path):
    def broken():
        yield counting(3)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="source"):
        write(tmp_path / "x.h5", broken())
    assert list(tmp_path.iterdir()) == []


def test_store_without_episodes_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not one episode"), StoreWriter(tmp_path / "x.h5"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_not_a_store_is_never_replaced(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not a store of trajrl"):
        StoreWriter(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (counting(2), r"has columns \['actions', 'obs', 'rewards'\]"),
        (counting(2, marks=[0], extras={"goal": np.zeros((2, 3), np.float32)}), "is \\(3,\\) wide"),
        (counting(2, marks=[0], extras={"goal": np.zeros((2, 2), np.float64)}), "is of type float64"),
        (
            counting(2, marks=[0], first=np.nan, extras={"goal": np.zeros((2, 2), np.float32)}),
            "NaN or inf in obs at step 0",
        ),
    ],
)
def test_refused_episode_leaves_no_rows(tmp_path, second, message):
    good = counting(3, marks=[1], extras={"goal": np.zeros((3, 2), np.float32)})
    with StoreWriter(tmp_path / "x.h5") as writer:
        writer.append(good)
        with pytest.raises(ValueError, match=message):
            writer.append(second)
        writer.append(good)
    assert [len(episode) for episode in TrajectoryStore.open(tmp_path / "x.h5").episodes()] == [3, 3]


def test_extra_columns_may_hold_nan(tmp_path):
    with StoreWriter(tmp_path / "x.h5") as writer:
        writer.append(counting(2, extras={"goal": np.full((2, 1), np.nan)}))
    assert np.isnan(TrajectoryStore.open(tmp_path / "x.h5").episode(0).extras["goal"]).all()


def test_label_that_comes_later_is_zero_before_and_text_is_refused(tmp_path):
    with StoreWriter(tmp_path / "x.h5") as writer:
        writer.append(counting(1))
        writer.append(counting(1), labels={"fold": 3})
        with pytest.raises(ValueError, match="one number or flag"):
            writer.append(counting(1), labels={"fold": "three"})
    assert TrajectoryStore.open(tmp_path / "x.h5").table.fold.tolist() == [0, 3]


def test_folder_that_may_not_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"x\.h5 cannot be written: .*file is a file"):
        StoreWriter(tmp_path / "file" / "x.h5")


@pytest.mark.slow
def test_importing_a_file_of_200_megabytes_takes_constant_memory(tmp_path):
    from benchmarks.large_import import measure

    found = measure(tmp_path, 200_000_000)
    assert found["source_bytes"] >= 200e6
    assert found["transitions"] == found["episodes"] * 200
    assert found["peak_rss_mb"] < found["opened_rss_mb"] + 100
