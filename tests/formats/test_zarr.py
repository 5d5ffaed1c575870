"""Replay buffers in zarr: chunks of every packing, ends, what is left, and what is refused."""

from __future__ import annotations

import json
import pickle
import zipfile
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from foreign import read, replay_buffer, zarr_store

from trajrl.core.rng import stream
from trajrl.formats import open_source, recognise
from trajrl.formats.zarr.array import decoder

REAL = Path(__file__).parents[1] / "fixtures" / "zarr"  # written by zarr 2.18.7 as diffusion_policy does


@pytest.mark.parametrize("codec", [None, "zlib", "gzip", "bz2", "zstd", "lz4"])
@pytest.mark.parametrize("name", ["x.zarr", "x.zarr.zip"])
def test_rows_become_episodes(codec, name, tmp_path):
    arrays = replay_buffer([4, 6])
    path = zarr_store(tmp_path / name, arrays, codec)
    assert recognise(path) == "zarr"
    episodes, source = read(path)
    assert [(len(e), e.terminated, e.success) for e in episodes] == [(3, False, None), (5, False, None)]
    np.testing.assert_array_equal(episodes[1].obs, arrays["data/state"][4:])
    np.testing.assert_array_equal(episodes[1].actions, arrays["data/action"][4:9])
    np.testing.assert_array_equal(episodes[1].extras["keypoint"], arrays["data/keypoint"][4:9])
    assert set(episodes[0].extras) == {"keypoint", "n_contacts"}
    counts = {"dropped_steps": 2, "ends_of_unknown_kind": 2, "left_frames": 1, "no_rewards": 10}
    assert source.notes.counts == counts


def test_observations_are_put_side_by_side_as_asked(tmp_path):
    arrays = replay_buffer([4, 6])
    path = zarr_store(tmp_path / "x.zarr", arrays)
    episodes, source = read(path, obs_keys=("keypoint", "state"))
    np.testing.assert_array_equal(episodes[0].obs[:, :6], arrays["data/keypoint"][:4].reshape(4, 6))
    assert source.reading()["obs_keys"] == {"keypoint": 6, "state": 5}
    with pytest.raises(
        ValueError, match="has no observation 'pose'; choose --obs-keys from keypoint, n_contacts, state"
    ):
        open_source(path, obs_keys=("pose",))


@pytest.mark.parametrize("kind", ["u1", "f4"])
def test_images_that_are_named_become_images(kind, tmp_path):
    frames = stream(0, "zarr").integers(0, 256, (11, 8, 6, 3)).astype(kind)
    arrays = replay_buffer([4, 1, 6], **{"data/img": frames})
    path = zarr_store(tmp_path / "x.zarr", arrays)
    episodes, source = read(path, obs_keys=("state", "img"))
    assert [len(one) for one in episodes] == [3, 5]  # one of a single row is lost
    for one, rows in zip(episodes, (slice(0, 4), slice(5, 11))):
        assert one.images["img"].dtype == np.uint8
        np.testing.assert_array_equal(one.images["img"], frames[rows])
        np.testing.assert_array_equal(one.obs, arrays["data/state"][rows])
    assert source.notes.counts.get("cast_columns", 0) == (kind == "f4")
    assert "left_frames" not in source.notes.counts
    episodes, _ = read(path, obs_keys=("img",), image_size=(4, 3))
    assert (episodes[0].obs.shape, episodes[0].images["img"].shape) == ((4, 0), (4, 4, 3, 3))


def test_rows_behind_the_last_end_keep_their_images(tmp_path):
    frames = stream(0, "zarr").integers(0, 256, (10, 8, 6, 3)).astype(np.uint8)
    arrays = replay_buffer([4, 6], **{"meta/episode_ends": np.array([4]), "data/img": frames})
    episodes, _ = read(zarr_store(tmp_path / "x.zarr", arrays), obs_keys=("img",))
    np.testing.assert_array_equal(episodes[1].images["img"], frames[4:])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.full((4, 8, 6, 3), 0.5, np.float32), "is float32 and not whole numbers from 0 to 255"),
        (np.full((4, 8, 6, 3), 256, np.int16), "is int16 and not whole numbers from 0 to 255"),
        (np.full((4, 8, 6, 3), np.nan, np.float32), "is float32 and not whole numbers"),
        (np.zeros((4, 3, 64, 64), np.uint8), "channels first"),
        (np.zeros((4, 2, 8, 6, 3), np.uint8), "holds no vectors and no images"),
    ],
)
def test_images_that_are_none_are_refused(value, said, tmp_path):
    path = zarr_store(tmp_path / "x.zarr", replay_buffer([4], **{"data/img": value}))
    with pytest.raises(ValueError, match=said) as caught:
        read(path, obs_keys=("img",))
    assert "img" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_that_are_left_may_be_packed_by_anything_and_unpack_to_much(tmp_path, monkeypatch):
    monkeypatch.setattr("trajrl.store.file.bounds.UNPACKED", 1 << 16)
    frames = np.zeros((10, 128, 128, 3), np.float32)  # 1.9 MB that take 2 KB
    path = zarr_store(tmp_path / "x.zarr", replay_buffer([4, 6], **{"data/img": frames}))
    place = path / "data/img/.zarray"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"compressor": {"id": "imagecodecs_jpegxl"}}))
    assert read(path)[1].notes.counts["left_frames"] == 1
    with pytest.raises(ValueError, match="unpacks to 0 MiB, more than 50 times its size"):
        read(path, obs_keys=("img",))
    monkeypatch.setattr("trajrl.store.file.bounds.UNPACKED", 1 << 20)
    with pytest.raises(ValueError, match="'data/img' is packed by 'imagecodecs_jpegxl', which is not read"):
        read(path, obs_keys=("img",))


def test_rewards_are_read_where_they_are(tmp_path):
    arrays = replay_buffer([4], **{"data/reward": np.arange(4.0)})
    episodes, source = read(zarr_store(tmp_path / "x.zarr", arrays))
    assert episodes[0].rewards.tolist() == [0, 1, 2]
    assert "no_rewards" not in source.notes.counts


def test_rows_after_the_last_end_are_an_unfinished_episode(tmp_path):
    arrays = replay_buffer([4, 6], **{"meta/episode_ends": np.array([4])})
    episodes, source = read(zarr_store(tmp_path / "x.zarr", arrays))
    assert [len(e) for e in episodes] == [3, 5]
    assert source.notes.counts["unfinished_tails"] == 1


@pytest.mark.parametrize("ends", [[0, 10], [4, 4, 10], [4, 11], []])
def test_ends_that_cannot_be_are_refused(ends, tmp_path):
    arrays = replay_buffer([4, 6], **{"meta/episode_ends": np.array(ends, np.int64)})
    with pytest.raises(ValueError, match="rising numbers up to that are due"):
        open_source(zarr_store(tmp_path / "x.zarr", arrays))


def test_a_chunk_that_is_not_stored_is_counted_or_refused(tmp_path):
    arrays = replay_buffer([4, 6])
    path = zarr_store(tmp_path / "x.zarr", arrays)
    (path / "data/state/1.0").unlink()
    episodes, source = read(path)
    assert source.notes.counts["absent_chunks"] == 1
    assert not episodes[1].obs[0, :3].any()
    zarr_store(tmp_path / "y.zarr", arrays, fill_value=None)
    (tmp_path / "y.zarr/data/state/1.0").unlink()
    with pytest.raises(ValueError, match=r"array 'data/state' lacks its chunk 1\.0; copy it again"):
        read(tmp_path / "y.zarr")


def test_small_blocks_give_the_same_rows(tmp_path, monkeypatch):
    path = zarr_store(tmp_path / "x.zarr", replay_buffer([4, 9, 2]), rows=3)
    due, _ = read(path)
    monkeypatch.setattr("trajrl.formats.zarr.array.BLOCK_BYTES", 64)
    for one, other in zip(due, read(path)[0], strict=True):
        np.testing.assert_array_equal(one.obs, other.obs)
        np.testing.assert_array_equal(one.extras["keypoint"], other.extras["keypoint"])


def test_a_chunk_that_unpacks_to_more_than_is_due_is_refused_before_it_does(tmp_path):
    arrays = replay_buffer([4, 6])
    path = zarr_store(tmp_path / "x.zarr", arrays)
    (path / "data/state/0.0").write_bytes(zlib.compress(bytes(40 << 20)))
    with pytest.raises(ValueError, match=r"its chunk data/state/0\.0 h"):
        read(path)


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"shape": [1 << 40, 2]}, r"unpacks to \d+ MiB|is in \d+ chunks"),
        ({"shape": [10**9, 2], "chunks": [10**9, 2]}, r"is in chunks of \d+ MiB"),
        ({"dtype": "|O"}, r"holds \|O, not numbers"),
        ({"dtype": [["a", "<f4"]]}, "not numbers"),
        ({"filters": [{"id": "delta"}]}, "was filtered"),
        ({"compressor": {"id": "pickle"}}, "is packed by 'pickle', which is not read"),
        ({"chunks": [0, 2]}, "has no chunks such as"),
    ],
)
def test_arrays_that_claim_what_cannot_be_are_refused(said, wrong, tmp_path):
    path = zarr_store(tmp_path / "x.zarr", replay_buffer([4, 6]))
    place = path / "data/action/.zarray"
    place.write_text(json.dumps(json.loads(place.read_text()) | said))
    with pytest.raises(ValueError, match=wrong) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_chunk_with_code_does_not_run_it(tmp_path):
    path = zarr_store(tmp_path / "x.zarr", replay_buffer([4, 6]), None)

    class Touch:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    place = path / "data/action/.zarray"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"compressor": {"id": "pickle"}}))
    (path / "data/action/0.0").write_bytes(pickle.dumps(Touch()))
    with pytest.raises(ValueError, match="which is not read"):
        read(path)
    assert not (tmp_path / "ran").exists()


def test_version_3_is_refused_by_name(tmp_path):
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr/zarr.json").write_text("{}")
    with pytest.raises(ValueError, match="is zarr of version 3; save it with zarr_format=2"):
        open_source(tmp_path / "x.zarr")


@pytest.mark.parametrize("name", ["lz4.zarr.zip", "zstd.zarr.zip"])
def test_what_zarr_itself_packed_with_blosc_is_read(name):
    if find_spec("numcodecs") is None:
        with pytest.raises(ImportError, match=r"packed by blosc; pip install .*\[zarr\]"):
            read(REAL / name)
        return
    episodes, _ = read(REAL / name)
    assert [len(e) for e in episodes] == [24, 39]
    np.testing.assert_array_equal(episodes[1].obs[:, 0], np.arange(25, 65))
    np.testing.assert_array_equal(episodes[1].actions[:, 1], -np.arange(25, 64))


@pytest.mark.parametrize("raw", [b"", b"short", bytes(16), b"\x02\x01\x21\x04" + bytes(60)])
def test_a_blosc_header_that_lies_is_refused(raw):
    pytest.importorskip("numcodecs", reason="numcodecs is not installed")
    with pytest.raises(ValueError, match="64 bytes are due"):
        decoder({"id": "blosc"}, "x")(raw, 64)


def test_a_name_that_leads_out_of_the_store_is_never_opened(tmp_path):
    path = zarr_store(tmp_path / "x.zip", replay_buffer([4]))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("data/../../secret/.zarray", "{}")
    with pytest.raises(ValueError, match="has no shape such as"):
        read(path)
    folder = zarr_store(tmp_path / "y.zarr", replay_buffer([4]))
    (tmp_path / "secret").write_bytes((folder / "data/action/0.0").read_bytes())
    (folder / "data/action/0.0").unlink()
    (folder / "data/action/0.0").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="is a link out of"):
        read(folder)
