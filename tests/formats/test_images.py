"""Images in foreign files: read under their names, written where a format has a place, else refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.store.episodes import assert_same, filmed
from trajrl import TrajectoryStore
from trajrl.formats import export, import_source, open_source
from trajrl.formats.doctor.examine import examine
from trajrl.formats.doctor.finding import ERROR

FILM = [filmed(2, index) for index in range(3)]


def back(path: Path, format: str, **options) -> TrajectoryStore:
    return TrajectoryStore.of(open_source(path, format, **options).episodes())


@pytest.mark.parametrize("obs_dim", [0, 2])
@pytest.mark.parametrize("format", ["npz", "robomimic"])
def test_out_and_in_again_is_the_same(tmp_path, format: str, obs_dim: int) -> None:
    film = [filmed(2, index, obs_dim) for index in range(3)]
    path = tmp_path / ("x.npz" if format == "npz" else "x.hdf5")
    export(TrajectoryStore.of(film), path, format)
    keys = {} if format == "npz" else {"obs_keys": ("side", "front", *(["flat"] if obs_dim else []))}
    for left, right in zip(film, back(path, format, **keys).episodes(), strict=True):
        assert_same(left, right)


def test_an_ogbench_file_holds_one_image(tmp_path) -> None:
    store = TrajectoryStore.of(FILM)
    with pytest.raises(ValueError, match="one image or one vector"):
        export(store, tmp_path / "x.npz", "ogbench")
    store.keep_keys(["side"])
    export(store, tmp_path / "x.npz", "ogbench")
    for left, right in zip(store.episodes(), back(tmp_path / "x.npz", "ogbench").episodes(), strict=True):
        np.testing.assert_array_equal(left.images["side"], right.images["pixels"])
        assert right.obs.shape == (len(left) + 1, 0)


def test_a_visual_ogbench_file_is_read_as_published(tmp_path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    ends = np.array([0, 0, 1, 0, 0, 1], bool)
    np.savez(
        tmp_path / "visual-x-v0.npz",
        observations=frames,
        actions=np.zeros((6, 2), np.float32),
        terminals=ends,
    )
    summary = import_source(open_source(tmp_path / "visual-x-v0.npz"), tmp_path / "x.h5")
    episodes = list(TrajectoryStore.open(tmp_path / "x.h5").episodes())
    np.testing.assert_array_equal(episodes[1].images["pixels"], frames[3:])
    assert (summary["obs_dim"], summary["environment"]) == (0, "ogbench:visual-x-v0")


@pytest.mark.parametrize("stored_next", [False, True])
def test_flat_rows_of_images_end_where_their_flags_say(tmp_path, stored_next: bool) -> None:
    frames = np.arange(1, 8, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    after = {"next_observations": frames[[1, 2, 2, 4, 5, 6, 6]]} if stored_next else {}
    np.savez(
        tmp_path / "x.npz", observations=frames, actions=np.zeros((7, 1), np.float32), rewards=np.ones(7),
        terminals=np.array([0, 0, 1, 0, 0, 0, 1]), **after,
    )  # fmt: skip
    shown = [e.images["pixels"][:, 0, 0, 0].tolist() for e in back(tmp_path / "x.npz", "npz").episodes()]
    assert shown == [[1, 2, 3, 3], [4, 5, 6, 7, 7]]


def test_images_that_no_key_names_are_counted(tmp_path) -> None:
    export(TrajectoryStore.of(FILM), tmp_path / "x.hdf5", "robomimic")
    source = open_source(tmp_path / "x.hdf5")
    assert not TrajectoryStore.of(source.episodes()).images
    assert source.notes.counts["images_left_out"] == 2


def test_channels_come_last(tmp_path) -> None:
    np.savez(
        tmp_path / "x.npz", observations=np.zeros((3, 3, 32, 32), np.uint8), rewards=np.ones(3),
        actions=np.zeros((3, 1), np.float32), terminals=np.array([0, 0, 1]),
    )  # fmt: skip
    with pytest.raises(ValueError, match="channels first"):
        back(tmp_path / "x.npz", "npz")


@pytest.mark.parametrize("format", ["d4rl", "minari"])
def test_a_format_of_vectors_refuses_images(tmp_path, format: str) -> None:
    with pytest.raises(ValueError, match="holds vectors, and this store has images"):
        export(TrajectoryStore.of(FILM), tmp_path / "x-v0", format)
    assert not list(tmp_path.iterdir())


def test_minari_images_are_read_by_their_key(tmp_path) -> None:
    place = tmp_path / "x-v0" / "data"
    place.mkdir(parents=True)
    frames = np.random.default_rng(1).integers(0, 256, (4, 6, 5, 3), np.uint8)
    with h5py.File(place / "main_data.hdf5", "w") as file:
        group = file.create_group("episode_0")
        group.create_dataset("observations/camera", data=frames)
        group.create_dataset("observations/arm", data=np.ones((4, 2)))
        flags = {"terminations": np.zeros(3, bool), "truncations": np.arange(3) == 2}
        columns = {"actions": np.zeros((3, 1), np.float32), "rewards": np.ones(3), **flags}
        for name, column in columns.items():
            group.create_dataset(name, data=column)
    (place / "metadata.json").write_text("{}")
    (both,) = back(tmp_path / "x-v0", "minari", obs_keys=("arm", "camera")).episodes()
    np.testing.assert_array_equal(both.images["camera"], frames)
    assert both.obs.shape == (4, 2)
    (alone,) = back(tmp_path / "x-v0", "minari", obs_keys=("camera",)).episodes()
    assert (alone.obs.shape, list(alone.images)) == ((4, 0), ["camera"])


def test_the_doctor_reads_images(tmp_path) -> None:
    export(TrajectoryStore.of([filmed(2, index, 0) for index in range(3)]), tmp_path / "x.npz", "npz")
    found = examine(lambda: open_source(tmp_path / "x.npz"))
    assert not [finding for finding in found.findings if finding.level == ERROR]
