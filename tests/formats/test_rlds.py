"""RLDS episodes in TFDS records: framing, messages, what a last step means, and what is damaged."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from foreign import Example, example, normal, read, rlds, rlds_set, tfrecord
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trajrl.core.rng import stream
from trajrl.formats import open_source, recognise
from trajrl.formats.rlds.crc32c import crc32c, masked_crc32c
from trajrl.formats.rlds.example import features_of
from trajrl.formats.rlds.tfrecord import records


def test_the_checksum_is_that_of_the_standard():
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720 and the catalogue of CRCs
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(b"") == 0


@pytest.mark.parametrize("length", [4096, 4097, 5000, 70_001])
def test_lanes_give_the_checksum_of_one_byte_after_another(length):
    tensorboard = pytest.importorskip("tensorboard.summary.writer.record_writer", reason="no tensorboard")
    content = normal("crc", length).astype(np.uint8).tobytes()[:length]
    assert masked_crc32c(content) == tensorboard.masked_crc32c(content)


@settings(max_examples=40, deadline=None)
@given(
    floats=st.lists(st.floats(width=32, allow_nan=False)), texts=st.lists(st.binary(max_size=9)),
    whole=st.lists(st.integers(-(2**63), 2**63 - 1)), name=st.text(max_size=8),
)  # fmt: skip
def test_what_protobuf_wrote_is_read(floats, whole, texts, name):
    message = Example()
    feature = message.features.feature
    feature["f"].float_list.value.extend(floats)
    feature["i"].int64_list.value.extend(whole)
    feature["b" + name].bytes_list.value.extend(texts)
    found = features_of(message.SerializeToString())
    assert found["f"].tolist() == floats
    if whole:
        assert (found["i"].dtype, found["i"].tolist()) == (np.int64, whole)
    assert [bytes(text) for text in found["b" + name] if len(texts)] == texts


def test_numbers_that_are_not_packed_and_lists_of_features_are_read():
    one = lambda number, content: bytes([number << 3 | 2, len(content)]) + content  # noqa: E731
    loose = one(2, b"\x0d" + struct.pack("<f", 1.5) + b"\x0d" + struct.pack("<f", 2.5))
    entry = one(1, one(1, b"a") + one(2, one(1, loose) + one(1, loose)))
    assert features_of(one(2, entry))["a"].tolist() == [1.5, 2.5, 1.5, 2.5]
    integers = one(3, b"\x08\x05\x08\x96\x01")
    assert features_of(one(1, one(1, one(1, b"n") + one(2, integers))))["n"].tolist() == [5, 150]


@pytest.mark.parametrize("shards", [1, 2])
def test_records_become_episodes(shards, tmp_path):
    steps = rlds([4, 6, 3])
    folder = rlds_set(tmp_path / "x", steps, shards)
    assert recognise(folder) == "rlds"
    episodes, source = read(folder)
    order = [0, 1, 2] if shards == 1 else [0, 2, 1]
    assert [len(e) for e in episodes] == [(4, 6, 3)[n] for n in order]
    first, last = episodes[0], episodes[order.index(1)]
    np.testing.assert_array_equal(first.obs, steps[0]["observation/state"])
    np.testing.assert_array_equal(first.actions, steps[0]["action"][:-1])
    np.testing.assert_array_equal(first.rewards, steps[0]["reward"][:-1])
    assert (first.terminated, first.source) == (True, "push")
    assert (last.terminated, last.source) == (False, "pull")
    assert set(first.extras) == {"discount"}
    assert source.notes.counts == {"left_frames": 3}
    assert source.versions == {"name": "x", "version": "1.0.0"}


def test_one_file_is_read_without_a_description(tmp_path):
    steps = rlds([4, 6])
    path = tfrecord(tmp_path / "some.data", [example(one) for one in steps])
    assert recognise(path) == "rlds"
    episodes, source = read(path)
    np.testing.assert_array_equal(episodes[1].obs, steps[1]["observation/state"])
    assert source.notes.counts["skipped_members"] == 2  # nothing says that they are images


def test_the_reward_of_a_last_step_is_given_up_and_said_or_kept(tmp_path):
    steps = rlds([4, 6])
    for one in steps:
        one["reward"][-1] = 1
    folder = rlds_set(tmp_path / "x", steps)
    episodes, source = read(folder)
    assert source.notes.counts["last_rewards"] == 2
    assert episodes[0].rewards.max() != 1
    episodes, source = read(folder, ends="flags")
    assert [(len(e), e.terminated) for e in episodes] == [(5, True), (6, False)]
    assert episodes[0].rewards[-1] == 1
    np.testing.assert_array_equal(episodes[0].obs[-1], episodes[0].obs[-2])
    assert "last_rewards" not in source.notes.counts
    assert (source.notes.counts["repeated_last_obs"], source.notes.counts["dropped_steps"]) == (1, 1)


def test_observations_are_chosen_by_name(tmp_path):
    rows = 5
    steps = rlds([4], **{"observation/joints": normal("j", rows, 7), "observation/state": None})
    steps[0]["observation/wrist"] = normal("w", rows, 2)
    folder = rlds_set(tmp_path / "x", steps)
    with pytest.raises(ValueError, match="observations or none; choose --obs-keys from joints, wrist"):
        read(folder)
    episodes, source = read(folder, obs_keys=("wrist", "joints"))
    assert episodes[0].obs.shape == (5, 9)
    assert source.reading()["obs_keys"] == {"wrist": 2, "joints": 7}


def packed(frames: np.ndarray, kind: str = "PNG") -> list[bytes]:
    """Return images (n, h, w, c) as TFDS packs them."""
    found = []
    for frame in frames:
        out = io.BytesIO()
        Image.fromarray(frame).save(out, kind)
        found.append(out.getvalue())
    return found


def test_images_that_are_named_become_images(tmp_path):
    frames = stream(0, "rlds").integers(0, 256, (5, 8, 6, 3)).astype(np.uint8)
    folder = rlds_set(tmp_path / "x", rlds([4], **{"observation/image": packed(frames)}))
    episodes, source = read(folder, obs_keys=("state", "image"))
    np.testing.assert_array_equal(episodes[0].images["image"], frames)
    assert episodes[0].obs.shape == (5, 3)
    assert "left_frames" not in source.notes.counts
    episodes, _ = read(folder, obs_keys=("image",), ends="flags", image_size=(4, 3))
    assert (episodes[0].obs.shape, episodes[0].images["image"].shape) == ((6, 0), (6, 4, 3, 3))
    np.testing.assert_array_equal(episodes[0].images["image"][-1], episodes[0].images["image"][-2])


def test_images_of_jpeg_of_one_file_without_a_description_and_tensors_are_read(tmp_path):
    frames = stream(0, "rlds").integers(0, 256, (5, 8, 6, 3)).astype(np.uint8)
    steps = rlds([4], **{"observation/image": packed(frames, "JPEG"), "observation/side/rgb": frames})
    path = tfrecord(tmp_path / "some.data", [example(one) for one in steps])
    episodes, _ = read(path, obs_keys=("image", "state"))
    due = np.stack([np.asarray(Image.open(io.BytesIO(raw))) for raw in steps[0]["observation/image"]])
    np.testing.assert_array_equal(episodes[0].images["image"], due)
    episodes, _ = read(rlds_set(tmp_path / "x", steps), obs_keys=("side/rgb",))
    np.testing.assert_array_equal(episodes[0].images["side.rgb"], frames)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([b"jpeg"] * 5, "record 0: 'observation/image', step 0, holds no PNG or JPEG image"),
        (packed(np.zeros((4, 8, 6, 3), np.uint8)), "has 4 images for 5 steps"),
        (
            [*packed(np.zeros((4, 8, 6, 3), np.uint8)), *packed(np.zeros((1, 6, 8, 3), np.uint8))],
            r"its image of step 4 is \(6, 8, 3\), and that of step 0 \(8, 6, 3\)",
        ),
    ],
)
def test_images_that_are_none_are_refused_by_their_place(images, said, tmp_path):
    folder = rlds_set(tmp_path / "x", rlds([4], **{"observation/image": images}))
    with pytest.raises(ValueError, match=said) as caught:
        read(folder, obs_keys=("image",))
    assert "\n" not in str(caught.value)


def test_a_key_that_is_not_there_is_refused_with_the_images_that_are(tmp_path):
    with pytest.raises(ValueError, match="no observation 'img'; choose --obs-keys from state, image"):
        read(rlds_set(tmp_path / "x", rlds([4])), obs_keys=("img",))


def test_an_episode_whose_images_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("trajrl.formats.base.episode_images.EPISODE_BYTES", 4 * 8 * 6 * 3)
    frames = np.zeros((5, 8, 6, 3), np.uint8)
    folder = rlds_set(tmp_path / "x", rlds([4], **{"observation/image": packed(frames)}))
    with pytest.raises(ValueError, match="has 5 frames or more"):
        read(folder, obs_keys=("image",))


def test_missing_shards_records_and_rewards_are_said(tmp_path):
    folder = rlds_set(tmp_path / "x", rlds([4, 6, 3], reward=None), 3)
    (folder / "x-train.tfrecord-00001-of-00003").unlink()
    episodes, source = read(folder)
    assert len(episodes) == 2
    assert source.notes.counts["absent_shards"] == 1
    assert source.notes.first["absent_episodes"] == "2 of 3 are there"
    assert source.notes.counts["no_rewards"] == 9


def test_a_split_is_chosen(tmp_path):
    folder = rlds_set(tmp_path / "x", rlds([4]))
    tfrecord(folder / "x-val.tfrecord-00000-of-00001", [example(one) for one in rlds([2, 2])])
    assert [len(read(folder, split=split)[0]) for split in ("train", "val", "all")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("place", "said"),
    [(3, "damaged, or this is no TFRecord file"), (40, "record 0 is damaged: its checksum does not fit"),
     (-20, "record 1 is damaged: its checksum does not fit")],
)  # fmt: skip
def test_a_changed_byte_is_found(place, said, tmp_path):
    path = rlds_set(tmp_path / "x", rlds([4, 6])) / "x-train.tfrecord-00000-of-00001"
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=said):
        read(path.parent)


def test_a_file_that_ends_early_is_refused_by_its_record(tmp_path):
    path = rlds_set(tmp_path / "x", rlds([4, 6])) / "x-train.tfrecord-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="record 1 is damaged: the file ends in the middle of it"):
        read(path.parent)


def test_a_length_that_the_file_does_not_have_takes_no_memory(tmp_path):
    head = struct.pack("<Q", 1 << 40)
    (tmp_path / "x.tfrecord").write_bytes(head + struct.pack("<I", masked_crc32c(head)) + bytes(100))
    with pytest.raises(ValueError, match="the file ends in the middle of it"):
        list(records(tmp_path / "x.tfrecord"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"action": np.arange(5)}, "'action' are int64: discrete actions"),
        ({"action": None}, "has no 'action' of numbers in its steps"),
        ({"action": normal("a", 4, 2)}, "'action' has 8 numbers for 5 steps"),
        ({"is_last": np.arange(5)}, "'is_last' is a flag of each step"),
        ({"reward": normal("r", 5, 2)}, "'reward' has 10 numbers for 5 steps; one each is due"),
    ],
)
def test_steps_that_cannot_be_are_refused(changed, said, tmp_path):
    folder = rlds_set(tmp_path / "x", rlds([4], **changed))
    with pytest.raises(ValueError, match=said) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


def test_records_of_another_kind_are_refused_by_name(tmp_path):
    folder = rlds_set(tmp_path / "x", rlds([4]), fileFormat="array_record")
    (folder / "x-train.tfrecord-00000-of-00001").rename(folder / "x-train.array_record-00000-of-00001")
    with pytest.raises(ValueError, match="its records are array_record; trajrl reads TFRecord files"):
        open_source(folder)


@pytest.mark.parametrize(
    "record", [b"\x0a\xff\xff\xff\xff\x0f", b"\x0b", b"\x0a\x02\x0a", b"\x08\x01", b"\xff" * 12]
)
def test_bytes_that_are_no_example_are_refused(record):
    with pytest.raises(ValueError, match="it holds no tf"):
        features_of(record)
