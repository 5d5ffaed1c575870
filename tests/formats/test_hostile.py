"""Hostile files: damaged at random, built to mislead, to fill the memory, or to lead out of their folder."""

from __future__ import annotations

import os
import pickle
import time
import zipfile

import h5py
import numpy as np
import pytest
from foreign import chained, d4rl, hdf5, minari, minari_set, npz, ogbench
from fuzz import cases, damaged, fuzz
from fuzz_targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tried import note

from trajrl.core.rng import stream
from trajrl.formats import open_source

LIMIT = int(os.environ.get("TRAJRL_FUZZ_SECONDS", "7200"))


@pytest.mark.timeout(LIMIT)
@pytest.mark.parametrize(
    "target", [pytest.param(name, marks=[pytest.mark.slow] * TARGETS[name].slow) for name in sorted(TARGETS)]
)
def test_damaged_files_are_read_or_refused_in_one_line(target):
    count = cases(60)
    failures = fuzz(target, count)
    note(count, f"damaged files of kind {target}", len(failures))
    assert failures == []


def test_damage_is_a_function_of_its_number_and_changes_the_file():
    content = bytes(range(256)) * 4
    first = [damaged(content, stream(0, "test", i)) for i in range(50)]
    assert first == [damaged(content, stream(0, "test", i)) for i in range(50)]
    assert sum(one != content for one in first) > 45


def test_a_reader_that_crashes_hangs_or_mumbles_is_found(monkeypatch):
    monkeypatch.setenv("FUZZ_SECONDS", "1")
    found = fuzz("bad", 8)
    due = [
        "bad 1: TypeError", "bad 2: the child ended with -6", "bad 3: ValueError that names no file",
        "bad 4: ", "bad 6: the child hung",
    ]  # fmt: skip
    assert len(found) == len(due)
    assert all(line.startswith(words) for line, words in zip(found, due)), found
    assert "MemoryError" in found[3]


def episodes(path, **options):
    return list(open_source(path, **options).episodes())


shapes = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)
kinds = st.one_of(
    arrays.floating_dtypes(), arrays.integer_dtypes(), arrays.boolean_dtypes(), arrays.byte_string_dtypes(),
    arrays.unicode_string_dtypes(), arrays.complex_number_dtypes(),
)  # fmt: skip
columns = st.dictionaries(
    st.sampled_from(
        ["observations", "actions", "rewards", "terminals", "timeouts", "next_observations", "obs", "x"]
    ),
    st.builds(lambda kind, shape: (kind, shape), kinds, shapes).flatmap(lambda it: arrays.arrays(*it)),
    max_size=7,
)  # fmt: skip


@pytest.mark.parametrize("ending", ["npz", "hdf5", "pkl"])
@settings(
    deadline=None, max_examples=cases(40) // 2, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(found=columns)
def test_columns_of_any_kind_and_shape_are_read_or_refused(ending, tmp_path, found):
    path = tmp_path / f"x.{ending}"
    path.unlink(missing_ok=True)
    if ending == "hdf5":
        found = {name: value for name, value in found.items() if value.dtype.kind != "U"}
        hdf5(path, found)
    elif ending == "npz":
        npz(path, found)
    else:
        path.write_bytes(pickle.dumps([found]))
    said = f"{path.name} in one line"
    try:
        assert all(len(episode) > 0 for episode in episodes(path))
    except (ValueError, OSError) as error:
        said = str(error)
    assert path.name in said
    assert "\n" not in said


def test_rows_that_a_file_claims_and_lacks_are_not_made_up(tmp_path):
    path = hdf5(tmp_path / "x.hdf5", d4rl())
    with h5py.File(path, "r+") as file:
        for name in list(file):
            kind, shape = file[name].dtype, file[name].shape[1:]
            del file[name]
            file.create_dataset(name, (10**11, *shape), kind, chunks=(1024, *shape))
    assert path.stat().st_size < 100_000
    began = time.monotonic()
    with pytest.raises(ValueError, match="claims 100000000000 rows, of which the file lacks"):
        episodes(path)
    assert time.monotonic() - began < 5


def test_a_store_that_claims_rows_it_lacks_is_refused(tmp_path):
    from trajrl.store.store import TrajectoryStore

    path = TARGETS["store"].write(tmp_path / "s")
    with h5py.File(path, "r+") as file:
        del file["obs"]
        file.create_dataset("obs", (10**10, 3), np.float32, chunks=(1024, 3))
    with pytest.raises(ValueError, match="claims 10000000000 rows"):
        TrajectoryStore.open(path)


def test_a_pickle_of_lists_that_repeat_each_other_takes_no_time(tmp_path):
    nested: list = []
    for _ in range(60):
        nested = [nested, nested]
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(nested))
    began = time.monotonic()
    with pytest.raises(ValueError, match="repeats itself until it takes more than"):
        episodes(path, format="pickle")
    assert time.monotonic() - began < 5


def test_a_shard_that_links_out_of_its_folder_is_refused_by_name(tmp_path):
    npz(tmp_path / "secret.npz", ogbench([4]))
    npz(tmp_path / "set" / "x-000.npz", ogbench([4]))
    (tmp_path / "set" / "x-001.npz").symlink_to(tmp_path / "secret.npz")
    with pytest.raises(ValueError, match=r"x-001\.npz is a link out of .*set; trajrl follows no links"):
        episodes(tmp_path / "set")


@pytest.mark.parametrize("name", ["metadata.json", "main_data.hdf5"])
def test_a_data_set_that_links_out_of_its_folder_is_refused_by_name(name, tmp_path):
    folder = minari_set(tmp_path / "x-v0", minari([4]))
    (folder / "data" / name).rename(tmp_path / name)
    (folder / "data" / name).symlink_to(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name} is a link out of"):
        episodes(folder)


def test_a_link_that_the_user_names_is_followed(tmp_path):
    hdf5(tmp_path / "x.hdf5", chained(d4rl(), (9, 19)))
    (tmp_path / "link.hdf5").symlink_to(tmp_path / "x.hdf5")
    assert len(episodes(tmp_path / "link.hdf5")) == 2


def test_a_member_with_a_path_in_its_name_writes_nothing_outside(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    path = npz(inner / "x.npz", chained(d4rl(), (9, 19)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../stray.npy", archive.read("rewards.npy"))
        archive.writestr("/tmp/stray-of-a-test.npy", archive.read("rewards.npy"))
    assert len(episodes(path)) == 2
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["x.npz"]
    assert not os.path.exists("/tmp/stray-of-a-test.npy")
