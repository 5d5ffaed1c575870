"""Out and in again gives the same episodes, for every format, number by number."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from foreign import assert_same, read, shared, store_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trajrl import Episode, TrajectoryStore
from trajrl.formats import EXPORTS, export, import_source, open_source, recognise
from trajrl.formats.base.exporter import FOLDERS

NAMES = {
    "d4rl": "x.hdf5", "lerobot": "x", "lerobot-v2.1": "x", "minari": "x-v0", "npz": "x.npz",
    "ogbench": "x.npz", "robomimic": "x.hdf5",
}  # fmt: skip
REAL = (
    "d4rl/antmaze-umaze-v0.hdf5", "d4rl/halfcheetah_medium_replay-v1.hdf5", "d4rl/hopper_medium-v2.hdf5",
    "d4rl/pen-human-v1.hdf5", "minari/fixtures/hopper/mixed-v0", "ogbench/cube-single-play-v0.npz",
    "ogbench/cube-single-play-v0-val.npz", "ogbench/pointmaze-medium-navigate-v0-val.npz",
    "ogbench/scene-play-v0.npz",
    "ogbench/scene-play-v0-val.npz", "pickle/expert_data_Hopper-v4.pkl", "robomimic/lift_low_dim.hdf5",
    "robomimic/robomimic_test.hdf5",
)  # fmt: skip

numbers = st.floats(-100, 100, width=32)


@st.composite
def some_episodes(draw) -> list[Episode]:
    """Draw 1 to 6 episodes of 1 to 5 steps, with or without marks and further columns."""
    obs_dim, action_dim = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    marked, wide = draw(st.booleans()), draw(st.booleans())
    found = []
    for length in draw(st.lists(st.integers(1, 5), min_size=1, max_size=6)):

        def rows(*shape: int) -> np.ndarray:
            return draw(hnp.arrays(np.float32, shape, elements=numbers))

        extras = {"terminal": draw(hnp.arrays(bool, length))} if marked else {}
        if wide:
            extras |= {
                "qpos": rows(length, 2).astype(np.float64),
                "button": np.arange(length),
                "deep/cost": rows(length),
            }
        found.append(Episode(
            rows(length + 1, obs_dim), rows(length, action_dim), rows(length), draw(st.booleans()),
            draw(st.sampled_from([None, True, False])),
            draw(st.sampled_from(["", "expert", "m\u00e9dium"])), extras,
        ))  # fmt: skip
    return found


@pytest.mark.parametrize("format", sorted(EXPORTS))
@settings(max_examples=15, deadline=None)
@given(episodes=some_episodes())
def test_any_episodes_come_back_the_same(format, episodes):
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / NAMES[format]
        found = export(store_of(episodes), path, format)
        assert recognise(path) == format.removesuffix("-v2.1")
        again, source = read(path)
        for one, other in zip(episodes, again, strict=True):
            assert_same(one, other)
        assert found["transitions"] == sum(len(e) for e in again)
        assert set(source.notes.counts) <= {"terminal_marks", "constant_dones"}
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize(
    "format", [pytest.param(f, marks=[pytest.mark.slow] * f.startswith("lerobot")) for f in sorted(EXPORTS)]
)
def test_real_files_come_back_the_same(name, format, tmp_path):
    import_source(open_source(shared(name)), tmp_path / "a.h5")
    store = TrajectoryStore.open(tmp_path / "a.h5")
    export(store, tmp_path / NAMES[format], format)
    import_source(open_source(tmp_path / NAMES[format]), tmp_path / "b.h5")
    again = TrajectoryStore.open(tmp_path / "b.h5")
    assert again.fingerprint == store.fingerprint
    for attribute in ("environment", "action_low", "action_high"):
        assert again.attributes.get(attribute) == store.attributes.get(attribute)


@pytest.fixture
def store() -> TrajectoryStore:
    episodes = [
        Episode(np.arange(8.0).reshape(4, 2) + e, np.ones((3, 1)), np.ones(3), e % 2 == 0, e == 1, "s")
        for e in range(4)
    ]
    return store_of(episodes, environment="d4rl:hopper-medium-v2", action_low=[-1.0], action_high=[1.0])


@pytest.mark.parametrize("format", sorted(EXPORTS))
def test_environment_and_box_come_back(store, format, tmp_path):
    export(store, tmp_path / NAMES[format], format)
    source = open_source(tmp_path / NAMES[format])
    assert source.environment == "d4rl:hopper-medium-v2"
    assert source.action_low.tolist() == [-1.0]


def test_one_bound_for_all_actions_is_written_for_each(tmp_path):
    episode = Episode(np.zeros((4, 2)), np.ones((3, 3)), np.ones(3), True)
    store = store_of(
        [episode], environment="Hopper-v5", action_low=-1.0, action_high=1.0
    )  # as collect has it
    export(store, tmp_path / NAMES["minari"], "minari")
    metadata = json.loads((tmp_path / NAMES["minari"] / "data" / "metadata.json").read_text())
    space = json.loads(metadata["action_space"])
    assert (space["shape"], space["low"], space["high"]) == ([3], [-1.0] * 3, [1.0] * 3)


@pytest.mark.parametrize("format", sorted(EXPORTS))
def test_evicted_episodes_stay_behind(store, format, tmp_path):
    store.evict([0, 2])
    export(store, tmp_path / NAMES[format], format)
    again, _ = read(tmp_path / NAMES[format])
    for one, other in zip([store.episode(1), store.episode(3)], again, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("format", sorted(EXPORTS))
def test_nothing_is_overwritten(store, format, tmp_path):
    (tmp_path / NAMES[format]).write_text("mine")
    said = "is a new folder, and replaces nothing" if format in FOLDERS else "choose another name or add"
    with pytest.raises(FileExistsError, match=said):
        export(store, tmp_path / NAMES[format], format)
    assert (tmp_path / NAMES[format]).read_text() == "mine"


@pytest.mark.parametrize("format", FOLDERS)
def test_a_folder_that_is_there_is_refused_with_what_to_name(store, format, tmp_path):
    (tmp_path / NAMES[format]).mkdir()
    inside = "x-v0/set-v0" if format == "minari" else "x/set"
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match=f"name one that is not there yet, such as .*/{inside}$"):
            export(store, tmp_path / NAMES[format], format, overwrite)


@pytest.mark.parametrize("format", FOLDERS)
def test_every_file_of_a_set_is_on_the_disk_before_it_has_its_name(store, format, tmp_path, monkeypatch):
    printed: list[str] = []
    sync, rename = os.fsync, os.rename

    def noted_sync(number):
        printed.append(os.readlink(f"/proc/self/fd/{number}"))
        sync(number)

    def noted_rename(source, target):
        printed.append(f"{source} -> {target}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "rename", noted_rename)
    final = tmp_path / NAMES[format]
    export(store, final, format)
    (renamed,) = (row for row, line in enumerate(printed) if line.endswith(f" -> {final}"))
    scratch = printed[renamed].partition(" -> ")[0]
    due = {f"{scratch}/{path.relative_to(final)}" for path in final.rglob("*")} | {scratch}
    assert due <= set(printed[:renamed])
    assert printed[renamed + 1] == str(tmp_path)


@pytest.mark.parametrize("format", sorted(EXPORTS))
def test_a_failed_export_leaves_nothing(store, format, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    room = format.removesuffix("-v2.1")
    writer = {"lerobot": "stats_of", "minari": "_metadata", "robomimic": "_demo"}.get(room, "ledger_of")
    monkeypatch.setattr(f"trajrl.formats.{room}.export.{writer}", full)
    with pytest.raises(OSError, match="could not be written: No space left on device"):
        export(store, tmp_path / NAMES[format], format)
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from trajrl import Episode, TrajectoryStore
from trajrl.formats import EXPORTS, export
rows = np.random.Generator(np.random.Philox(0)).standard_normal((1001, 30))
store = TrajectoryStore.of([Episode(rows, rows[1:], rows[1:, 0], True)])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
for number, format in enumerate(sorted(EXPORTS)):
    try:
        export(store, Path(sys.argv[1]) / f"x{number}-v0", format)
    except OSError as error:
        print(format, "could not be written" in str(error))
"""


@pytest.mark.parametrize("num_bytes", [300, 50_000])
def test_a_full_disk_ends_an_export_with_one_line_and_no_file(num_bytes, tmp_path):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(num_bytes)]
    root = Path(__file__).parents[2]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert ended.stdout.splitlines() == [f"{format} True" for format in sorted(EXPORTS)]
    assert (ended.returncode, list(tmp_path.iterdir())) == (0, [])


def test_what_a_format_has_no_place_for_is_said(store, tmp_path):
    said = {
        format: export(store, tmp_path / format / NAMES[format], format)["beside"]
        for format in sorted(EXPORTS)
    }
    assert said["npz"] == []
    assert said["d4rl"] == ["4 episodes say whether they succeeded", "1 source is named"]
    assert said["ogbench"][0] == "12 steps have a reward"
    assert "2 episodes are terminated" in said["robomimic"]


def test_an_edited_file_is_read_as_found(store, tmp_path):
    path = tmp_path / "x.hdf5"
    export(store, path, "d4rl")
    with h5py.File(path, "r+") as file:
        file["timeouts"][4] = True  # an end within the second episode
        file["timeouts"][5] = False
    episodes, source = read(path)
    assert source.notes.counts["outdated_ledger"] == 1
    assert [len(e) for e in episodes] == [3, 2, 1, 3, 3]


def test_robomimic_keeps_the_keys_and_masks_it_came_with(tmp_path):
    path = shared("robomimic/lift_low_dim.hdf5")
    import_source(open_source(path), tmp_path / "a.h5")
    export(TrajectoryStore.open(tmp_path / "a.h5"), tmp_path / "b.hdf5", "robomimic")
    with h5py.File(tmp_path / "b.hdf5") as file, h5py.File(path) as real:
        for key in ("object", "robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos"):
            due = real[f"data/demo_1/obs/{key}"][:].astype(np.float32)
            np.testing.assert_array_equal(file[f"data/demo_1/obs/{key}"][:], due)
        assert file["mask/train"].shape[0] + file["mask/valid"].shape[0] == 2
        np.testing.assert_array_equal(file["data/demo_0/dones"][:], real["data/demo_0/dones"][:])


def test_the_d4rl_columns_are_those_its_own_loader_expects(store, tmp_path):
    export(store, tmp_path / "x.hdf5", "d4rl")
    with h5py.File(tmp_path / "x.hdf5") as file:
        assert np.flatnonzero(file["terminals"][:]).tolist() == [2, 8]
        assert np.flatnonzero(file["timeouts"][:]).tolist() == [5, 11]
        np.testing.assert_array_equal(file["next_observations"][0], file["observations"][1])


def test_the_official_ogbench_loader_reads_what_is_exported(store, tmp_path):
    loader = pytest.importorskip("ogbench.utils", reason="ogbench is not installed").load_dataset
    export(store, tmp_path / "x.npz", "ogbench")
    found = loader(str(tmp_path / "x.npz"))
    np.testing.assert_array_equal(
        found["next_observations"], np.concatenate([e.obs[1:] for e in store.episodes()])
    )
    np.testing.assert_array_equal(found["actions"], np.concatenate([e.actions for e in store.episodes()]))


def test_a_minari_set_needs_a_version_in_its_name(store, tmp_path):
    with pytest.raises(ValueError, match="is called NAME-vN, as in medium-v0; got 'toy'"):
        export(store, tmp_path / "toy", "minari")
