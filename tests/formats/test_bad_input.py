"""Bad input: one line that says what, where and what to do; exit code 1; no partial file; nothing runs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from foreign import (
    at,
    chained,
    d4rl,
    hdf5,
    lerobot,
    lerobot_set,
    minari,
    minari_set,
    normal,
    npz,
    ogbench,
    pickled,
    replay_buffer,
    rlds,
    rlds_set,
    robomimic,
    zarr_store,
)  # fmt: skip

from trajrl.formats import import_source, open_source

ROOT = Path(__file__).parents[2]
SHARD = "x-train.tfrecord-00000-of-00001"
FORMATS = ("d4rl", "lerobot", "minari", "npz", "ogbench", "pickle", "rlds", "robomimic", "zarr")
ENDINGS = {
    "d4rl": "x.hdf5",
    "lerobot": "x",
    "minari": "x-v0",
    "npz": "x.npz",
    "ogbench": "x.npz",
    "pickle": "x.pkl",
    "robomimic": "x.hdf5",
    "rlds": "x",
    "zarr": "x.zip",
}
ACTIONS = {
    "d4rl": "actions", "lerobot": "action", "minari": "episode_1/actions", "npz": "actions",
    "ogbench": "actions",
    "pickle": "actions", "robomimic": "data/demo_1/actions", "zarr": "data/action", "rlds": "action",
}  # fmt: skip


def columns(format: str) -> dict:
    """Return the arrays of a good file."""
    flat = {**chained(d4rl(), (9, 19))}
    return {
        "d4rl": flat, "npz": flat, "pickle": flat, "minari": minari([4, 5]), "ogbench": ogbench([4, 5]),
        "robomimic": robomimic({"demo_0": 4, "demo_1": 5}), "lerobot": lerobot([4, 5]),
        "zarr": replay_buffer([4, 5]), "rlds": rlds([9])[0],
    }[format]  # fmt: skip


def write(format: str, folder: Path, arrays: dict) -> Path:
    """Write a file of a format and return its path."""
    path = folder / ENDINGS[format]
    if format == "minari":
        return minari_set(path, arrays)
    if format == "lerobot":
        return lerobot_set(path, arrays)
    if format == "rlds":
        return rlds_set(path, [arrays])
    if format == "zarr":
        return zarr_store(path, arrays)
    if format == "pickle":
        return pickled(path, [arrays])
    return npz(path, arrays) if path.suffix == ".npz" else hdf5(path, arrays)


def content(path: Path) -> Path:
    """Return the file that holds the numbers."""
    places = ("data/main_data.hdf5", "data/chunk-000/file-000.parquet", SHARD)
    return next((path / place for place in places if (path / place).exists()), path)


def assert_refused(path: Path, said: str, kind: type[Exception] = ValueError, **options) -> None:
    """Import must fail with one line that names the file, and leave nothing behind."""
    out = path.parent / "out.h5"
    before = set(path.parent.iterdir())
    with pytest.raises(kind, match=said) as caught:
        import_source(open_source(path, **options), out)
    assert "\n" not in str(caught.value)
    assert set(path.parent.iterdir()) == before


@pytest.mark.parametrize("format", FORMATS)
def test_a_good_file_is_imported(format, tmp_path):
    found = import_source(open_source(write(format, tmp_path, columns(format))), tmp_path / "out.h5")
    assert found["episodes"] >= 1


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_a_truncated_file(format, share, tmp_path):
    path = write(format, tmp_path, columns(format))
    whole = content(path).read_bytes()
    content(path).write_bytes(whole[: int(share * len(whole))])
    assert_refused(path, "not a whole (HDF5|npz) file|not a whole pickle|damaged|not whole: it has no footer")


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_file(format, tmp_path):
    path = write(format, tmp_path, columns(format))
    content(path).write_bytes(b"")
    assert_refused(path, "is empty; download or copy it again|not a whole HDF5 file")


@pytest.mark.timeout(60)  # where a pipe is opened, nothing ever comes
@pytest.mark.parametrize(
    ("format", "place"),
    [
        ("lerobot", "meta/info.json"), ("lerobot", "meta/tasks.parquet"),
        ("lerobot", "meta/episodes/chunk-000/file-000.parquet"),
        ("lerobot", "data/chunk-000/file-000.parquet"), ("minari", "data/main_data.hdf5"),
        ("rlds", "features.json"), ("rlds", "dataset_info.json"), ("zarr", "data/action/0.0"),
    ],
)  # fmt: skip
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(format, place, tmp_path):
    path = tmp_path / "set.zarr"
    path = zarr_store(path, columns(format)) if format == "zarr" else write(format, tmp_path, columns(format))
    (path / place).unlink()
    os.mkfifo(path / place)
    if place == "meta/tasks.parquet":  # what only describes is passed over, with a line
        source = open_source(path)
        assert import_source(source, tmp_path / "out.h5")["episodes"] == 2
        assert any("tasks.parquet is not a plain file" in line for line in source.notes.lines())
    else:
        assert_refused(path, f"{place} is not a plain file")


@pytest.mark.parametrize("format", FORMATS)
def test_text_with_the_right_ending(format, tmp_path):
    path = write(format, tmp_path, columns(format))
    content(path).write_text("this is no data\n" * 50)
    assert_refused(path, "is text, not data|not a whole HDF5 file|is not a parquet file|no TFRecord file")


@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_key(format, tmp_path):
    arrays = columns(format)
    del arrays[ACTIONS[format]]
    path = write(format, tmp_path, arrays)
    assert_refused(path, f"has no '{ACTIONS[format].rpartition('/')[2]}'", format=format)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_nan_and_inf(format, number, tmp_path):
    arrays = columns(format)
    name = ACTIONS[format]
    arrays[name] = arrays[name].copy()
    arrays[name][2, 0] = number
    assert_refused(write(format, tmp_path, arrays), "NaN or inf in actions at step 2; `store doctor`")


@pytest.mark.parametrize("format", FORMATS)
def test_lengths_that_disagree(format, tmp_path):
    arrays = columns(format)
    arrays[ACTIONS[format]] = arrays[ACTIONS[format]][:-1]
    assert_refused(
        write(format, tmp_path, arrays), "rows and '?(its )?actions'? \\d+; they must be equal|due$"
    )


@pytest.mark.parametrize("format", FORMATS)
def test_no_permission(format, tmp_path, monkeypatch):
    path = write(format, tmp_path, columns(format))
    plain = Path.open

    def forbidden(self, *args, **kwargs):  # tests may run as root, whom no mode stops
        if self in (path, content(path)):
            raise PermissionError(13, "Permission denied", str(self))
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", forbidden)
    assert_refused(path, "no permission to read it", PermissionError)


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_leaves_no_partial_file(format, tmp_path):
    path = write(format, tmp_path, columns(format))
    if format == "pickle":
        pickled(
            path,
            [{name: np.resize(array, (4000, *array.shape[1:])) for name, array in columns(format).items()}],
        )
    command = [
        sys.executable,
        "run.py",
        "store",
        "import",
        str(path),
        "--out",
        str(tmp_path / "out" / "x.h5"),
    ]

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    ended = subprocess.run(
        command, cwd=ROOT, preexec_fn=small_files, capture_output=True, text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert ended.returncode == 1
    assert "could not be written" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command_line_gives_one_line_and_exit_code_1(tmp_path):
    (tmp_path / "x.hdf5").write_text("no data")
    command = [
        sys.executable,
        "run.py",
        "store",
        "import",
        str(tmp_path / "x.hdf5"),
        "--out",
        str(tmp_path / "o.h5"),
        "--json",
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines() == [
        f"error: {tmp_path / 'x.hdf5'} is text, not data; "
        "trajrl reads D4RL, LeRobot, Minari, robomimic, OGBench, RLDS, npz, pickle and zarr files"
    ]
    assert not (tmp_path / "o.h5").exists()


def test_a_pickle_with_code_does_not_run_it(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    assert_refused(path, "is refused: it holds os.system, .*--trust-pickle", format="pickle")
    assert not (tmp_path / "ran").exists()


def test_a_pickle_with_code_under_the_name_of_an_hdf5_file(tmp_path):
    path = tmp_path / "x.hdf5"
    path.write_bytes(b"\x80\x02cos\nsystem\nX\x05\x00\x00\x00touch\x85R.")
    assert_refused(path, "is refused: it holds os.system")


def test_a_folder_without_shards(tmp_path):
    (tmp_path / "set").mkdir()
    assert_refused(tmp_path / "set", "is a folder without shards")
    (tmp_path / "set" / "notes.txt").write_text("to do")
    assert_refused(tmp_path / "set", "is a folder without shards")


def test_a_missing_file(tmp_path):
    assert_refused(tmp_path / "absent.hdf5", "no such file", FileNotFoundError)


@pytest.mark.parametrize("format", ["d4rl", "minari", "robomimic"])
@pytest.mark.parametrize("kind", ["soft", "external", "rows elsewhere", "virtual"])
def test_links_out_of_a_file_are_refused_by_name(format, kind, tmp_path):
    path = write(format, tmp_path, columns(format))
    secret = hdf5(tmp_path / "secret.hdf5", {"a": normal("s", 5, 7)})
    with h5py.File(content(path), "r+") as file:
        name, shape = ACTIONS[format], file[ACTIONS[format]].shape
        del file[name]
        if kind == "soft":
            file[name] = h5py.SoftLink("/" + next(iter(columns(format))))
        elif kind == "external":
            file[name] = h5py.ExternalLink(str(secret), "/a")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape, np.float32)
            layout[:] = h5py.VirtualSource(str(secret), "a", shape)
            file.create_virtual_dataset(name, layout)
        else:
            file.create_dataset(name, shape, np.float32, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    assert_refused(
        path,
        rf"'/{name}' (is an? (soft link|external link|virtual dataset)|keeps its rows in another file)",
    )


def test_a_linked_group_is_not_followed_to_recognise_a_file(tmp_path):
    secret = hdf5(tmp_path / "secret.hdf5", robomimic({"demo_0": 4}))
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["data"] = h5py.ExternalLink(str(secret), "/data")
    assert_refused(tmp_path / "x.hdf5", "'/data' is an external link; trajrl follows no links")


def test_a_layout_that_is_forced_and_absent_names_what_is_there(tmp_path):
    path = write("d4rl", tmp_path, columns("d4rl"))
    assert_refused(path, "has no 'data'; it has actions, ", format="robomimic")
    assert_refused(path, "holds no group called episode_0", format="minari")
    assert_refused(path, "not a whole npz file", format="npz")


def test_a_virtual_dataset_of_the_same_file_is_refused(tmp_path):
    path = write("d4rl", tmp_path, columns("d4rl"))
    with h5py.File(path, "r+") as file:
        file.move("actions", "metadata/kept")
        layout = h5py.VirtualLayout((20, 3), np.float32)
        layout[:] = h5py.VirtualSource(".", "/metadata/kept", (20, 3))
        file.create_virtual_dataset("actions", layout)
    assert_refused(path, "'/actions' is a virtual dataset; trajrl follows no links: copy the data in")


@pytest.mark.parametrize("member", ["actions", "rewards"])
def test_a_flipped_byte_in_an_npz_is_damage(member, tmp_path):
    path = npz(
        tmp_path / "x.npz", {**columns("npz"), member: normal("wide", 20, 300 if member == "actions" else 1)}
    )
    raw = bytearray(path.read_bytes())
    place = (
        raw.index(f"{member}.npy".encode()) + 400 if member == "actions" else raw.index(b"rewards.npy") + 160
    )
    raw[place] ^= 1
    path.write_bytes(raw)
    assert_refused(path, r"is damaged \(Bad CRC-32")


def test_a_column_of_text_is_refused(tmp_path):
    arrays = {**columns("d4rl"), "rewards": np.array([b"one"] * 20)}
    assert_refused(write("d4rl", tmp_path, arrays), r"'rewards' holds \|S3, not numbers")


def test_a_single_value_for_a_column_is_refused(tmp_path):
    assert_refused(
        write("d4rl", tmp_path, {**columns("d4rl"), "rewards": 3.0}), "'rewards' is a single value"
    )


def test_rewards_of_several_numbers_are_refused(tmp_path):
    arrays = {**columns("d4rl"), "rewards": np.zeros((20, 2))}
    assert_refused(
        write("d4rl", tmp_path, arrays), r"'rewards' has shape \(20, 2\); one number for each row is due"
    )


def test_an_existing_store_is_not_overwritten(tmp_path):
    path = write("d4rl", tmp_path, columns("d4rl"))
    import_source(open_source(path), tmp_path / "o.h5")
    with pytest.raises(FileExistsError, match=r"o\.h5 exists; choose another name"):
        import_source(open_source(path), tmp_path / "o.h5")
    import_source(open_source(path), tmp_path / "o.h5", overwrite=True)
    with pytest.raises(ValueError, match="exists and is not a store"):
        import_source(open_source(path), path, overwrite=True)
    assert path.read_bytes()[:4] == b"\x89HDF"


def test_a_source_of_lost_episodes_alone_writes_no_file(tmp_path):
    path = hdf5(tmp_path / "x.hdf5", d4rl(2, ends=(0, 1)))
    assert_refused(
        path, "gave not one episode: 2 steps were given up.*EPISODES WERE LOST|gave not one episode"
    )


def test_a_mask_of_numbers_that_are_no_flags_is_refused(tmp_path):
    arrays = {**columns("ogbench"), "terminals": np.arange(11)}
    assert_refused(write("ogbench", tmp_path, arrays), "'terminals' is a flag, but holds 2")


def test_broken_json_in_an_exported_file_is_one_line(tmp_path):
    arrays = {**columns("ogbench"), "trajrl_attributes": np.frombuffer(b"{oops", np.uint8)}
    assert_refused(write("ogbench", tmp_path, arrays), "what trajrl left in the file is damaged")


def test_unequal_flags_length_is_refused(tmp_path):
    assert_refused(
        write("d4rl", tmp_path, {**columns("d4rl"), "timeouts": at(19, 9)}),
        "'timeouts' has 19 rows and 'actions' 20",
    )


def test_a_format_that_the_file_does_not_have_is_answered_with_the_one_it_has(tmp_path):
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        for name, width in (("observations", 3), ("actions", 2)):
            file[name] = np.zeros((8, width), np.float32)
        file["rewards"], file["terminals"], file["timeouts"] = np.zeros(8), np.zeros(8), np.zeros(8)
    reason = r"x.hdf5 is d4rl by its content: try --format auto\.  Read as npz: "
    with pytest.raises(ValueError, match=reason):
        open_source(tmp_path / "x.hdf5", "npz")


@pytest.mark.filterwarnings("error")
def test_a_number_too_large_for_the_store_is_told_with_its_source(tmp_path):
    obs = np.zeros((8, 3))
    obs[5, 1] = 1e300
    ends = np.arange(8) % 4 == 3
    columns = {"observations": obs, "actions": np.zeros((8, 2)), "rewards": np.zeros(8), "terminals": ends}
    np.savez(tmp_path / "big.npz", **columns)
    reason = r"episode 1 of .*big.npz has NaN or inf in obs at step 1; .*float32 ends at 3\.4e38"
    with pytest.raises(ValueError, match=reason):
        import_source(open_source(tmp_path / "big.npz"), tmp_path / "out.h5")
