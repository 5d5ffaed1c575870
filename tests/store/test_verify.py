"""Verify finds a flipped byte wherever something can be read from, names the dataset, and never raises."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from episodes import counting, random_episode, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trajrl.core.rng import stream
from trajrl.store.file.hdf5 import datasets, put, seal
from trajrl.store.file.pack import pack
from trajrl.store.file.verify import verify

KINDS = ("plain", "packed")


@pytest.fixture(scope="module", params=KINDS)
def whole(request, tmp_path_factory) -> Path:
    """A small store file, plain and packed."""
    folder = tmp_path_factory.mktemp(request.param)
    path = write(
        folder / "x.h5", [random_episode(1, e, True) for e in range(12)], environment="E", note={"a": 1}
    )
    if request.param == "plain":
        return path
    pack(path, folder / "packed.h5")
    return folder / "packed.h5"


def everything(path: Path) -> dict:
    """Read all that can be read from a file."""
    with h5py.File(path, "r") as file:
        found = {
            name: (file[name].dtype.str, file[name].shape, file[name][:].tobytes()) for name in datasets(file)
        }
        found.update({f"{name} digest": bytes(file[name].attrs["digest"]) for name in datasets(file)})
        return {**found, **{f"attribute {name}": repr(value) for name, value in file.attrs.items()}}


def flip(content: bytes, place: int, bit: int = 0) -> bytes:
    flipped = bytearray(content)
    flipped[place] ^= 1 << bit
    return bytes(flipped)


def test_whole_file_has_no_findings(whole):
    assert list(verify(whole)) == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_flipped_bit_is_found_or_lies_where_nothing_is_read(whole, tmp_path, where, bit):
    content = whole.read_bytes()
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(flip(content, int(where * len(content)), bit))
    if not list(verify(damaged)):
        # Alignment and unused header space: every dataset, digest and attribute reads as before.
        assert everything(damaged) == everything(whole)


def places(path: Path) -> list[tuple[str, int]]:
    """Return every stored byte of every contiguous dataset, by name."""
    with h5py.File(path, "r") as file:
        found = []
        for name in datasets(file):
            start, size = file[name].id.get_offset(), file[name].id.get_storage_size()
            found += [(name, place) for place in range(start, start + size)]
    return found


def test_flipped_byte_in_any_dataset_is_found_and_the_dataset_named(tmp_path):
    path = write(tmp_path / "x.h5", [counting(2, marks=[1]), counting(3, marks=[])], environment="E")
    content = path.read_bytes()
    by_name = {}
    for name, place in places(path):
        by_name.setdefault(name, []).append(place)
    rng = stream(0, "test")
    assert {
        "obs",
        "actions",
        "rewards",
        "extras/terminal",
        "table/length",
        "table/train",
        "stats/obs_mean",
    } <= set(by_name)
    for name, found in by_name.items():
        for place in rng.choice(found, size=min(4, len(found)), replace=False):
            path.write_bytes(flip(content, int(place), int(rng.integers(8))))
            assert any(line.startswith(f"{name}:") for line in verify(path)), (name, place)


@pytest.mark.parametrize("change", ["value", "removed", "added"])
def test_changed_attribute_is_found(tmp_path, change):
    path = write(tmp_path / "x.h5", [counting(2)], environment="E")
    with h5py.File(path, "r+") as file:
        if change == "removed":
            del file.attrs["environment"]
        else:
            file.attrs["environment" if change == "value" else "more"] = "F"
    assert list(verify(path)) == ["attributes: an attribute or the list of datasets is not what was written"]


def test_removed_label_is_found(tmp_path):
    path = write(tmp_path / "x.h5", [counting(2)])
    with h5py.File(path, "r+") as file:
        del file["table/train"]
    assert [line.split(":")[0] for line in verify(path)] == ["attributes"]


def test_truncated_and_foreign_files_are_findings_not_errors(tmp_path):
    path = write(tmp_path / "x.h5", [counting(2)])
    path.write_bytes(path.read_bytes()[:-100])
    assert "not a whole HDF5 file" in next(verify(path))
    (tmp_path / "text.h5").write_text("words")
    assert "not a whole HDF5 file" in next(verify(tmp_path / "text.h5"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("start", [0, 3], "start of episode 1 is not where the one before it ends"),
        ("length", [2, 4], "6 steps in 2 episodes; actions has 5 rows and obs 7"),
        ("length", [0, 5], "length of episode 0 is below 1"),
        ("returns", [2, 4], "return of episode 1 is 4; its rewards add up to 3"),
        ("returns", [np.nan, 3], "return of episode 0 is nan; its rewards add up to 2"),
        ("source_code", [0, 1], "source_code of episode 1 stands for nothing"),
        ("phase", [0, 7], "phase of episode 1 stands for nothing"),
    ],
)
def test_wrong_table_with_right_digests_is_found(tmp_path, name, value, message):
    path = write(tmp_path / "x.h5", [counting(2), counting(3)])
    with h5py.File(path, "r+") as file:
        put(file, f"table/{name}", np.array(value, file[f"table/{name}"].dtype))
        if name == "length" and value == [2, 4]:
            put(file, "table/start", np.array([0, 2]))
        if name == "length" and value == [0, 5]:
            put(file, "table/start", np.array([0, 0]))
        seal(file)
    assert list(verify(path)) == [f"table: {message}"]


def test_returns_are_added_up_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("trajrl.store.file.verify.BLOCK_STEPS", 7)
    path = write(tmp_path / "x.h5", [random_episode(4, e) for e in range(20)])
    assert list(verify(path)) == []
