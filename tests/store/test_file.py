"""The store's file: in and out again, mapped and read; what is refused; readers beside a writer."""

from __future__ import annotations

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from episodes import assert_same, counting, every_anchor, random_episode, write

from trajrl import TrajectoryStore, WindowSpec, gather
from trajrl.store.file.hdf5 import seal
from trajrl.store.file.writer import StoreWriter

ATTRIBUTES = {
    "environment": "Hopper-v5", "count": 3, "share": 0.5, "flag": True, "nothing": None, "empty": "",
    "word": "null", "text": '{"a": 1}', "nested": {"a": [1, 2, {"b": None}]}, "accents": "Gr\u00f6\u00dfe",
    "action_low": np.array([-1.0, -2.0]),
}  # fmt: skip


@pytest.fixture
def episodes():
    return [random_episode(1, index, True) for index in range(9)]


@pytest.fixture
def path(tmp_path, episodes):
    return write(tmp_path / "x.h5", episodes, **ATTRIBUTES)


@pytest.mark.parametrize("memory", ["auto", "map", "ram"])
def test_file_gives_the_same_episodes_back(path, episodes, memory):
    store = TrajectoryStore.open(path, memory)
    assert len(store) == 9
    for e, episode in enumerate(episodes):
        assert_same(store.episode(e), episode)
    assert store.table.train.tolist() == [e % 2 == 0 for e in range(9)]


def test_attributes_come_back_as_they_went_in(path):
    attributes = TrajectoryStore.open(path).attributes
    assert attributes.pop("action_low") == [-1, -2]
    assert {name: attributes[name] for name in ATTRIBUTES if name != "action_low"} == {
        name: value for name, value in ATTRIBUTES.items() if name != "action_low"
    }


def test_provenance_of_a_thousand_shards_fits(tmp_path):
    names = [f"shard {index} of a long list of files" for index in range(4000)]
    path = write(tmp_path / "x.h5", [counting(2)], provenance={"files": names})
    assert TrajectoryStore.open(path).attributes["provenance"]["files"] == names


def test_mapped_and_read_windows_are_equal(path):
    mapped, read = TrajectoryStore.open(path, "map"), TrajectoryStore.open(path, "ram")
    spec = WindowSpec(4, 3, 7)
    for left, right in zip(
        gather(mapped, every_anchor(mapped), spec)[:-2], gather(read, every_anchor(read), spec)[:-2]
    ):
        assert left is right is None or left.equal(right)


def test_mapped_file_is_never_written(path):
    before = path.read_bytes()
    store = TrajectoryStore.open(path, "map")
    store.append(random_episode(8, 0, True))
    gather(store, every_anchor(store), WindowSpec(4, 3, 7)).obs.zero_()
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="read-only"):
        store.obs.base[0] = 0


def test_fingerprint_is_that_of_the_episodes_however_they_are_kept(path, episodes, tmp_path):
    recorded = TrajectoryStore.open(path).attributes["fingerprint"]
    grown = TrajectoryStore.open(write(tmp_path / "part.h5", episodes[:4]), "map")
    for episode in episodes[4:]:
        grown.append(episode, "offline")
    assert TrajectoryStore.open(path).fingerprint == recorded
    assert TrajectoryStore.of(episodes).fingerprint == recorded
    assert grown.fingerprint == recorded
    assert TrajectoryStore.of(episodes[::-1]).fingerprint != recorded


def test_fingerprint_never_changes_its_meaning():
    store = TrajectoryStore.of(
        [counting(3, terminated=True, source="a"), counting(2, marks=[1], success=False)]
    )
    assert (
        store.fingerprint == "84bfe3b0bbdad30c9c3cdbe55311e7a4"
    )  # recorded results name it: a new value is a new schema


def test_fingerprint_of_a_cut_and_evicted_store_is_that_of_what_is_left(tmp_path):
    store = TrajectoryStore.of(
        [counting(5, marks=[1], source="a"), counting(3, marks=[], source="b"), counting(2, marks=[])]
    )
    store.evict([0])
    store.cut_after_success()
    left = write(tmp_path / "left.h5", list(store.episodes()))
    assert store.fingerprint == TrajectoryStore.open(left).fingerprint


@pytest.mark.parametrize("change", ["obs", "action", "reward", "end", "success", "source", "mark"])
def test_fingerprint_sees_every_part_of_the_content(change):
    base = {
        "obs": 0.0,
        "action": 0.0,
        "reward": 0.0,
        "end": False,
        "success": None,
        "source": "a",
        "mark": False,
    }
    other = {**base, change: {"obs": 1.0, "action": 1.0, "reward": 1.0, "source": "b"}.get(change, True)}

    def make(p):
        from trajrl import Episode

        return Episode(
            [[0], [p["obs"]]],
            [[p["action"]]],
            [p["reward"]],
            p["end"],
            p["success"],
            p["source"],
            {"terminal": np.array([p["mark"]])},
        )

    assert TrajectoryStore.of([make(base)]).fingerprint != TrajectoryStore.of([make(other)]).fingerprint


def test_labels_and_attributes_are_outside_the_fingerprint(tmp_path, episodes):
    plain = StoreWriter(tmp_path / "plain.h5")
    for episode in episodes:
        plain.append(episode)
    plain.close()
    labelled = write(tmp_path / "labelled.h5", episodes, environment="E")
    assert (
        TrajectoryStore.open(tmp_path / "plain.h5").fingerprint == TrajectoryStore.open(labelled).fingerprint
    )


def test_absent_file_folder_and_text_each_get_one_line(tmp_path):
    (tmp_path / "text.h5").write_text("these are not the bytes you look for")
    (tmp_path / "empty.h5").touch()
    for name, error, message in [
        ("absent.h5", FileNotFoundError, "no such file"),
        ("", IsADirectoryError, "a store is one file"),
        ("text.h5", ValueError, "not a whole HDF5 file"),
        ("empty.h5", ValueError, "not a whole HDF5 file"),
    ]:
        with pytest.raises(error, match=message) as caught:
            TrajectoryStore.open(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_foreign_hdf5_is_sent_to_import(tmp_path):
    with h5py.File(tmp_path / "foreign.hdf5", "w") as file:
        file["observations"] = np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"not a trajrl store; `python run.py store import"):
        TrajectoryStore.open(tmp_path / "foreign.hdf5")


def test_file_of_a_later_schema_is_refused(path):
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = 2
    with pytest.raises(ValueError, match="has schema 2; this trajrl reads 1"):
        TrajectoryStore.open(path)


def test_unreadable_file_is_named(path, monkeypatch):
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything: the question is answered for it
        monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match=r"x\.h5: no permission to read it"):
        TrajectoryStore.open(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_file_is_refused(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="import or copy it again"):
        TrajectoryStore.open(path)


def test_links_out_of_the_file_are_not_followed(path, tmp_path):
    with h5py.File(path, "r+") as file:
        file["extras/secret"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "rows")
    with pytest.raises(ValueError, match="follows no links"):
        TrajectoryStore.open(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("table/start", "one after the other"),
        ("table/length", "one after the other"),
        ("rewards", "rewards has 3 rows"),
    ],
)
def test_table_that_does_not_fit_the_columns_is_refused(path, name, message):
    with h5py.File(path, "r+") as file:
        values = file[name][:3] if name == "rewards" else file[name][:] + (np.arange(9) == 4)
        digest = file[name].attrs["digest"]
        del file[name]
        file[name] = values
        file[name].attrs["digest"] = digest
        seal(file)
    with pytest.raises(ValueError, match=message):
        TrajectoryStore.open(path)


def test_open_store_keeps_its_episodes_when_the_name_gets_a_new_file(path, episodes):
    store = TrajectoryStore.open(path, "map")
    write(path, episodes[::-1])
    assert_same(store.episode(3), episodes[3])
    assert_same(TrajectoryStore.open(path, "map").episode(3), episodes[::-1][3])


REWRITE = """
from pathlib import Path
from episodes import counting, write
for length in range(1, 30):
    write(Path({path!r}), [counting(length) for _ in range(length)])
"""


def test_readers_beside_a_writer_always_see_a_whole_store(tmp_path):
    path = write(tmp_path / "x.h5", [counting(1)])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    writer = subprocess.Popen([sys.executable, "-c", REWRITE.format(path=str(path))], env=env)
    lengths = set()
    while writer.poll() is None:
        store = TrajectoryStore.open(path, "map")
        assert all(
            len(episode) == len(store) and episode.obs[-1] == len(store) for episode in store.episodes()
        )
        lengths.add(len(store))
    assert writer.returncode == 0
    assert len(lengths) > 3  # the reader met several generations of the file
