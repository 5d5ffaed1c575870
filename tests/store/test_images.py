"""Images in a store: as exact as vectors in memory, on disk and in the journal, and in windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.episodes import assert_same, every_anchor, filmed, random_episode, write
from trajrl import Episode, TrajectoryStore, WindowSpec, gather
from trajrl.store.file.describe import describe_store
from trajrl.store.file.pack import pack
from trajrl.store.file.verify import verify
from trajrl.store.journal import Journal

FILM = [filmed(1, index) for index in range(5)]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 6))
def test_windows_show_the_frames_of_both_histories(seed: int, history: int, horizon: int) -> None:
    episodes = [filmed(seed, index) for index in range(3)]
    store = TrajectoryStore.of(episodes)
    anchors = every_anchor(store)
    batch = gather(store, anchors, WindowSpec(history, 1, horizon))
    assert [frames.shape[1] for frames in batch.images] == [min(2 * history, history + horizon)] * 2
    for index, name in enumerate(store.images):
        here, there = batch.images_here[index], batch.images_next[index]
        for row, (e, t) in enumerate(zip(anchors.episode, anchors.step)):
            whole = episodes[e].images[name]
            for found, last in ((here, t), (there, t + int(batch.steps[row]))):
                for h in range(history):
                    u = last - history + 1 + h
                    expected = whole[u] if u >= 0 else np.zeros_like(whole[0])
                    np.testing.assert_array_equal(found[row, h], expected)


def test_a_frame_that_both_histories_show_is_gathered_once() -> None:
    store = TrajectoryStore.of([replace_length(filmed(3, 0), 9)])
    batch = gather(store, every_anchor(store), WindowSpec(3, 1, 1))
    shown = batch.images[0][4, :, 0, 0, 0]  # of `front`: the frame's number, counted from 1
    assert shown.tolist() == [3, 4, 5, 6]


def replace_length(episode: Episode, steps: int) -> Episode:
    rows = np.arange(steps + 1) % (len(episode) + 1)
    images = {name: frames[:1] + np.arange(steps + 1, dtype=np.uint8)[:, None, None, None]
              for name, frames in episode.images.items()}  # fmt: skip
    return Episode(episode.obs[rows], np.zeros((steps, 2)), np.zeros(steps), True, images=images)


@pytest.mark.parametrize("obs_dim", [0, 2])
@pytest.mark.parametrize("memory", ["ram", "map"])
def test_a_file_keeps_images_and_a_state_or_none(tmp_path, obs_dim: int, memory: str) -> None:
    film = [filmed(1, index, obs_dim) for index in range(4)]
    path = write(tmp_path / "x.h5", film)
    assert not list(verify(path))
    store = TrajectoryStore.open(path, memory)
    assert store.image_shapes == {"front": (4, 5, 3), "side": (3, 2, 1)}
    for episode, kept in zip(film, store.episodes(), strict=True):
        assert_same(episode, kept)
    assert store.fingerprint == TrajectoryStore.of(film).fingerprint
    assert describe_store(path)["images"] == {"front": [4, 5, 3], "side": [3, 2, 1]}


def test_a_packed_file_keeps_them_too(tmp_path) -> None:
    pack(write(tmp_path / "x.h5", [filmed(1, index, 0) for index in range(4)]), tmp_path / "y.h5")
    assert not list(verify(tmp_path / "y.h5"))
    plain, packed = (TrajectoryStore.open(tmp_path / f"{name}.h5") for name in "xy")
    for left, right in zip(plain.episodes(), packed.episodes(), strict=True):
        assert_same(left, right)


def test_the_fingerprint_sees_one_byte_of_one_frame() -> None:
    frames = FILM[0].images["side"].copy()
    frames[-1, 0, 0, 0] ^= 1
    other = replace(FILM[0], images={**FILM[0].images, "side": frames})
    assert TrajectoryStore.of([FILM[0]]).fingerprint != TrajectoryStore.of([other]).fingerprint


def test_a_journal_keeps_images(tmp_path) -> None:
    with Journal(tmp_path) as journal:
        journal.append(FILM[0])
        ((episode, _),) = journal.replay()
    assert_same(FILM[0], episode)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ({"front": np.zeros((3, 4, 4, 3), np.float32)}, "bytes; got float32"),
        ({"front": np.zeros((3, 4, 4), np.uint8)}, r"\(T\+1, height, width, channels\)"),
        ({"front": np.zeros((2, 4, 4, 3), np.uint8)}, "2 frames for 3 observations"),
        ({"state": np.zeros((3, 4, 4, 3), np.uint8)}, "other than 'state'"),
    ],
)
def test_images_that_do_not_fit_are_refused(images: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Episode(np.zeros((3, 1)), np.zeros((2, 1)), np.zeros(2), True, images=images)


def test_an_episode_without_the_images_of_a_store_is_refused(tmp_path) -> None:
    store = TrajectoryStore.of(FILM[:1])
    with pytest.raises(ValueError, match="front 4x5x3"):
        store.append(random_episode(1, 0, obs_dim=2))
    assert len(store.obs) == len(FILM[0].obs)
    with pytest.raises(ValueError, match="columns"):
        write(tmp_path / "x.h5", [FILM[0], random_episode(1, 0, obs_dim=2)])
    assert not list(tmp_path.iterdir())


def test_keys_choose_what_training_sees() -> None:
    store = TrajectoryStore.of(FILM)
    store.keep_keys(["side", "state"])
    assert (store.obs_dim, list(store.images)) == (2, ["side"])
    store.keep_keys(["side"])
    batch = gather(store, every_anchor(store), WindowSpec(2, 1, 1))
    assert batch.obs.shape[1:] == (2, 0)
    assert batch.images[0].dtype == torch.uint8
    with pytest.raises(ValueError, match="did you mean 'side'"):
        TrajectoryStore.of(FILM).keep_keys(["sides"])


def test_keys_that_a_store_lacks_are_said_with_its_place_first(tmp_path) -> None:
    from trajrl.training.config import RunConfig
    from trajrl.training.data import open_data

    write(tmp_path / "x.h5", FILM)
    with pytest.raises(ValueError, match=r"--obs-keys sides of .*x\.h5: .*; did you mean 'side'\?$"):
        open_data(RunConfig(agent="td3_bc", data=str(tmp_path / "x.h5"), obs_keys="sides"))
