"""What a stranger's file may take: no file of a few bytes ends the process, hangs it or fills the memory."""

from __future__ import annotations

import pickle
import re
import zipfile

import h5py
import numpy as np
import pytest
from foreign import d4rl, hdf5, npz, ogbench
from limited import opened

REDUCE_BYTEARRAY = b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x7f\x85R."  # bytearray(2 GB), 29 bytes


def nested_sets(depth: int = 24) -> bytes:
    """Return frozensets of two equal ones each, down to a depth: comparing two takes 2 ** depth steps."""
    left = right = frozenset()
    for level in range(depth):
        left, right = frozenset([left, level]), frozenset([right, level])
    return pickle.dumps([left, right, {left: right}], 4)


def nested_tuple_key(depth: int = 60) -> bytes:
    """Return a dictionary whose key takes 2 ** depth steps to hash."""
    body = b"\x80\x02}(" + b"K\x01"
    for level in range(depth):
        body += b"q" + bytes([level]) + b"h" + bytes([level]) + b"\x86"
    return body + b"K\x01u."


def nested_list_column(depth: int = 40) -> bytes:
    """Return a trajectory whose observations unfold to 2 ** depth numbers."""
    column: list = [0.0, 0.0]
    for _ in range(depth):
        column = [column, column]
    return pickle.dumps([{"observations": column, "actions": column, "rewards": column}])


PICKLES = {
    "a frozenset": (nested_sets(), "it holds a set"),
    "a set": (pickle.dumps([{1, 2}], 4), "it holds a set"),
    "a set of protocol 2": (pickle.dumps([{1, 2}], 2), r"it holds __builtin__\.set"),
    "a sized bytearray": (REDUCE_BYTEARRAY, r"it holds builtins\.bytearray"),
    "a buffer of 2 GB": (b"\x80\x05\x96\x00\x00\x00\x80\x00\x00\x00\x00.", "not a whole pickle"),
    "bytes of 2 GB": (b"\x80\x05\x8e\x00\x00\x00\x80\x00\x00\x00\x00.", "not a whole pickle"),
    "a memo of 2 GB": (b"\x80\x02Nr\x00\x00\x00\x08.", "a list of trajectories"),
    "a tuple as key": (nested_tuple_key(), "a dictionary with a tuple as a key"),
    "text, often encoded": (
        b"\x80\x02c_codecs\nencode\nq\x00X\x00\x00\x10\x00" + b"a" * (1 << 20) + b"\x85q\x01"
        + b"](" + b"h\x00h\x01R" * 4000 + b"e.", "copies the same content",
    ),
    "lists that unfold": (nested_list_column(), "it repeats itself"),
}  # fmt: skip


@pytest.mark.parametrize("name", PICKLES)
def test_a_small_pickle_neither_hangs_nor_fills_the_memory(name, tmp_path):
    content, said = PICKLES[name]
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    found = opened(path)
    assert found.code == 0
    assert found.mebibytes < 100
    assert re.search(said, found.said), found.said


def self_referring(path):
    """Replace the actions of a D4RL file by a virtual dataset whose source is itself."""
    with h5py.File(path, "r+") as file:
        shape = file["actions"].shape
        del file["actions"]
        layout = h5py.VirtualLayout(shape, np.float32)
        layout[:] = h5py.VirtualSource(".", "/actions", shape)
        file.create_virtual_dataset("actions", layout)


@pytest.mark.parametrize("how", ["import", "doctor"])
def test_a_virtual_dataset_of_itself_is_refused_and_ends_nothing(how, tmp_path):
    path = hdf5(tmp_path / "x.hdf5", d4rl())
    self_referring(path)
    found = opened(path, how)
    assert found.code == 0
    assert "'/actions' is a virtual dataset" in found.said


@pytest.mark.parametrize("how", ["import", "doctor"])
def test_a_group_that_holds_itself_is_refused_in_one_line(how, tmp_path):
    path = hdf5(tmp_path / "x.hdf5", d4rl(**{"infos/x": np.zeros(20)}))
    with h5py.File(path, "r+") as file:
        file["infos/again"] = file["infos"]
    found = opened(path, how)
    assert (found.code, "\n" in found.said) == (0, False)
    assert "holds itself" in found.said


def bomb(path, arrays, name="extra", num_bytes=400 << 20):
    """Add a member of zeros that unpacks to far more than the file has."""
    npz(path, arrays)
    archive = zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open(f"{name}.npy", "w") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (num_bytes,)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(num_bytes >> 20):
            file.write(bytes(1 << 20))
    return path


@pytest.mark.parametrize("how", ["import", "doctor"])
@pytest.mark.parametrize("arrays", [d4rl(), ogbench([4, 5])], ids=["npz", "ogbench"])
def test_an_npz_that_unpacks_to_far_more_than_it_has_is_refused(how, arrays, tmp_path):
    path = bomb(tmp_path / "x.npz", arrays)
    assert path.stat().st_size < 4 << 20
    found = opened(path, how)
    assert found.code == 0
    assert "unpacks to 400 MiB" in found.said
    assert found.mebibytes < 50


def test_a_header_of_gigabytes_is_not_read(tmp_path):
    path = npz(tmp_path / "x.npz", d4rl())
    archive = zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open("extra.npy", "w") as file:
        file.write(b"\x93NUMPY\x02\x00" + (300 << 20).to_bytes(4, "little"))
        for _ in range(300):
            file.write(b" " * (1 << 20))
    found = opened(path)
    assert "member 'extra' is not an array" in found.said
    assert found.mebibytes < 50


def test_a_member_that_claims_more_rows_than_it_holds_is_refused(tmp_path):
    path = npz(tmp_path / "x.npz", d4rl())
    with zipfile.ZipFile(path, "a") as archive, archive.open("extra.npy", "w") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (10**7,)}
        )
    assert "member 'extra' claims 40000000 bytes and holds 128" in opened(path).said
