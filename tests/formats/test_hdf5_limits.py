"""What a stranger's HDF5 file may take: links that multiply, zeros packed tight, columns without number."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from foreign import d4rl, hdf5, minari, minari_set, normal, read, robomimic
from limited import opened

from trajrl import Episode
from trajrl.store.file.hdf5 import datasets
from trajrl.store.file.pack import pack
from trajrl.store.file.writer import StoreWriter

ZEROS = 400 << 20  # bytes


def fan(place: h5py.Group, depth: int = 25) -> None:
    """Nest groups, each linked twice in the one around it: 2 ** depth paths."""
    for _ in range(depth):
        inner = place.create_group("a")
        place["b"] = inner
        place = inner
    place["x"] = np.ones(20, np.float32)


def packed_zeros(place: h5py.Group, name: str, num_bytes: int = ZEROS) -> None:
    """Add a column that unpacks to far more than it takes."""
    place.create_dataset(name, (num_bytes,), "u1", chunks=(8 << 20,), compression="gzip", fillvalue=1)
    for first in range(0, num_bytes, 8 << 20):
        place[name][first : first + (8 << 20)] = 0


@pytest.mark.parametrize("how", ["import", "doctor"])
def test_groups_linked_twice_are_refused_in_one_line(how, tmp_path):
    path = hdf5(tmp_path / "x.hdf5", d4rl())
    with h5py.File(path, "r+") as file:
        fan(file.create_group("infos"))
    found = opened(path, how)
    assert (found.code, "\n" in found.said) == (0, False)
    assert "is linked twice; copy the data into a new file" in found.said


def test_groups_of_a_store_linked_twice_are_refused(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        fan(file.create_group("extras"))
        with pytest.raises(ValueError, match="is linked twice"):
            datasets(file)


@pytest.mark.parametrize("how", ["import", "doctor"])
def test_an_hdf5_file_that_unpacks_to_far_more_than_it_has_is_refused(how, tmp_path):
    path = hdf5(tmp_path / "x.hdf5", d4rl())
    with h5py.File(path, "r+") as file:
        packed_zeros(file, "infos/x")
    found = opened(path, how)
    assert "unpacks to 400 MiB, more than 50 times its size; if that is meant, write it without" in found.said
    assert found.mebibytes < 50


def test_a_column_linked_often_counts_each_time(tmp_path):
    path = hdf5(tmp_path / "x.hdf5", d4rl())
    with h5py.File(path, "r+") as file:
        packed_zeros(file, "infos/x0", 40 << 20)
        for number in range(1, 10):
            file[f"infos/x{number}"] = file["infos/x0"]
    with pytest.raises(ValueError, match="unpacks to 280 MiB"):
        read(path)


def large(place: h5py.Group, rows: int) -> None:
    """Add a column of more than the limit to a record."""
    place.create_dataset("infos/zero", (rows, 50_000), "f4", chunks=(1, 50_000), compression="gzip")[:] = 0


@pytest.mark.parametrize("kind", ["minari", "robomimic"])
def test_records_that_unpack_to_far_too_much_are_refused_before_they_are_read(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("trajrl.store.file.bounds.UNPACKED", 4 << 20)
    monkeypatch.setattr("trajrl.store.file.bounds.RATIO", 10)
    if kind == "minari":
        path, group = minari_set(tmp_path / "set", minari([9, 9])), "episode_1"
        file = path / "data" / "main_data.hdf5"
    else:
        path, group = hdf5(tmp_path / "x.hdf5", robomimic({"demo_0": 9, "demo_1": 9})), "data/demo_1"
        file = path
    with h5py.File(file, "r+") as opened_file:
        large(opened_file[group], 40)
    with pytest.raises(ValueError, match="unpacks to 7 MiB, more than 10 times its size"):
        read(path)


def test_a_compressed_chunk_that_fills_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("trajrl.store.file.bounds.UNPACKED", 1000)
    path = hdf5(tmp_path / "x.hdf5", d4rl(observations=None))
    with h5py.File(path, "r+") as file:
        rows = normal("obs", 20, 4000)
        file.create_dataset("observations", data=rows, chunks=(20, 4000), compression="gzip")
    with pytest.raises(ValueError, match=r"'/observations' is compressed in chunks of .*in smaller chunks"):
        read(path)


def test_more_columns_than_anyone_records_are_refused(tmp_path):
    path = hdf5(tmp_path / "x.hdf5", d4rl(**{f"infos/x{i}": np.zeros(20, np.float32) for i in range(1001)}))
    with pytest.raises(ValueError, match=r"x.hdf5: it holds more than 1,000 datasets and groups"):
        read(path)


@pytest.mark.parametrize(
    ("rewards", "words"),
    [(h5py.Empty("f4"), "'/rewards' is empty: it has a type and no rows"),
     (np.dtype("f8"), "'/rewards' is a named datatype, not an array")],
)  # fmt: skip
def test_rewards_that_are_no_array_are_named(rewards, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        read(hdf5(tmp_path / "x.hdf5", d4rl(rewards=rewards)))


def test_a_store_that_packs_too_well_to_be_opened_is_not_packed(tmp_path, monkeypatch):
    zeros = np.zeros((5001, 4), np.float32)
    with StoreWriter(tmp_path / "s.h5") as writer:
        writer.append(Episode(zeros, zeros[1:], zeros[1:, 0], terminated=False))
    monkeypatch.setattr("trajrl.store.file.bounds.UNPACKED", 1000)
    monkeypatch.setattr("trajrl.store.file.bounds.RATIO", 2)
    with pytest.raises(ValueError, match="if that is meant, keep the plain store"):
        pack(tmp_path / "s.h5", tmp_path / "p.h5")
    assert [place.name for place in tmp_path.iterdir()] == ["s.h5"]


def test_a_long_search_for_ends_is_spoken_of(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("trajrl.core.console.PLAIN_SECONDS", 0.0)
    monkeypatch.setattr("trajrl.formats.base.columns.BLOCK_BYTES", 11 * 4 * 5)  # five rows
    read(hdf5(tmp_path / "x.hdf5", d4rl()))
    assert "x.hdf5: looking for ends: 1 of 4 blocks" in capsys.readouterr().err
