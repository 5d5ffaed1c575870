"""Images of LeRobot sets: encoded in columns, or frames of videos found by their time."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign import lerobot, lerobot_set, read
from PIL import Image

from trajrl import TrajectoryStore
from trajrl.core.rng import stream
from trajrl.formats import import_source, open_source
from trajrl.formats.lerobot.encoded import rows_at_once
from trajrl.formats.lerobot.footer import bytes_of

TOP, HAND = "observation.images.top", "observation.images.hand"
OFFICIAL = Path(__file__).parents[1] / "fixtures" / "lerobot"
DATA = "data/chunk-000/file-000.parquet"
LENGTHS = [4, 5]


def pictures(count: int, height: int = 12, width: int = 16, channels: int = 3) -> np.ndarray:
    """Return images (n, h, w, c) without order."""
    return stream(0, "pictures").integers(0, 256, (count, height, width, channels)).astype(np.uint8)


def png(frame: np.ndarray, kind: str = "PNG") -> bytes:
    """Return a packed image."""
    out = io.BytesIO()
    Image.fromarray(frame.squeeze()).save(out, kind)
    return out.getvalue()


def described(folder: Path, name: str, dtype: str, shape: tuple[int, ...], **info) -> None:
    """Name one more feature in info.json."""
    place = folder / "meta/info.json"
    found = json.loads(place.read_text()) | info
    found["features"][name] = {"dtype": dtype, "shape": list(shape), "names": ["height", "width", "channels"]}
    place.write_text(json.dumps(found))


def with_column(folder: Path, name: str, rows: list[bytes | None], paths: list[str] | None = None) -> None:
    """Put encoded images into the files of a set, as `datasets` writes them."""
    first = 0
    for file in sorted(folder.glob("data/**/*.parquet")):
        table = pq.read_table(file)
        part = rows[first : first + len(table)]
        first += len(table)
        cells = [{"bytes": raw, "path": f"frame_{i}.png"} for i, raw in enumerate(part)]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        pq.write_table(table.append_column(name, pa.array(cells, kind)), file)


def pictured(folder: Path, frames: np.ndarray, version: str = "v3.0", kind: str = "PNG", **more) -> Path:
    """Write a set with images in a column."""
    lerobot_set(folder, lerobot(LENGTHS, **more), version)
    with_column(folder, TOP, [png(frame, kind) for frame in frames])
    described(folder, TOP, "image", frames.shape[1:])
    return folder


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_encoded_images_become_a_column(version, tmp_path):
    frames = pictures(9)
    folder = pictured(tmp_path / "x", frames, version)
    episodes, source = read(folder, obs_keys=("observation.state", TOP))
    np.testing.assert_array_equal(episodes[0].images[TOP], frames[[0, 1, 2, 3, 3]])  # the end repeats
    np.testing.assert_array_equal(episodes[1].images[TOP][:-1], frames[4:])
    assert episodes[0].obs.shape == (5, 3)
    assert "left_frames" not in source.notes.counts
    import_source(open_source(folder, obs_keys=(TOP,)), tmp_path / "x.h5")
    store = TrajectoryStore.open(tmp_path / "x.h5")
    assert store.obs_dim == 0
    assert store.image_shapes == {TOP: (12, 16, 3)}
    np.testing.assert_array_equal(store.images[TOP].slice(0, 4), frames[:4])


def test_a_cut_end_gives_up_its_last_action_and_keeps_its_last_image(tmp_path):
    frames = pictures(9)
    cut = {"next.truncated": np.ones(9, bool)}
    episodes, _ = read(pictured(tmp_path / "x", frames, **cut), obs_keys=(TOP,))
    assert [len(one) for one in episodes] == [3, 4]
    np.testing.assert_array_equal(episodes[1].images[TOP], frames[4:])


def official(name: str) -> np.ndarray:
    """Return the images (15, 64, 64, 3) of a set that the official package wrote; the same in all three."""
    episodes, _ = read(OFFICIAL / name, obs_keys=("observation.state", TOP))
    assert [one.images[TOP].shape[0] for one in episodes] == [5, 3, 7]
    return np.concatenate([one.images[TOP] for one in episodes])


def test_images_that_the_official_package_wrote_are_those_that_it_reads():
    digest = hashlib.blake2b(official("v30-image").tobytes(), digest_size=8).hexdigest()
    assert digest == "833b85bd26761940"  # of what LeRobotDataset of lerobot 0.4.4 gives


def test_images_are_left_unless_they_are_named(tmp_path):
    _, source = read(pictured(tmp_path / "x", pictures(9)))
    assert source.notes.first["left_frames"] == TOP
    assert "--obs-keys names those that are decoded" in source.notes.lines()[0]


def test_small_blocks_give_the_same_images(tmp_path, monkeypatch):
    frames = pictures(9)
    folder = pictured(tmp_path / "x", frames)
    monkeypatch.setattr("trajrl.formats.lerobot.images.BLOCK_BYTES", 1)
    episodes, _ = read(folder, obs_keys=(TOP,))
    np.testing.assert_array_equal(episodes[1].images[TOP][:-1], frames[4:])


def test_a_block_may_lie_in_two_groups_of_rows(tmp_path):
    frames = pictures(9)
    folder = pictured(tmp_path / "x", frames)
    pq.write_table(pq.read_table(folder / DATA), folder / DATA, row_group_size=2)
    episodes, _ = read(folder, obs_keys=(TOP,))
    np.testing.assert_array_equal(episodes[1].images[TOP][:-1], frames[4:])


def test_images_are_made_smaller_as_asked(tmp_path):
    frames = np.repeat(np.repeat(pictures(9, 6, 8), 2, 1), 2, 2)  # (9, 12, 16, 3) of equal squares
    episodes, _ = read(pictured(tmp_path / "x", frames), obs_keys=(TOP,), image_size=(6, 8))
    due = np.asarray(Image.fromarray(frames[0]).resize((8, 6), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(episodes[0].images[TOP][0], due)


@pytest.mark.parametrize("size", [(0, 8), (8, 5000), (8,)])
def test_a_size_that_is_none_is_refused(size, tmp_path):
    folder = pictured(tmp_path / "x", pictures(9))
    with pytest.raises(ValueError, match="an image size is a height and a width of 1 to 4096 pixels"):
        open_source(folder, obs_keys=(TOP,), image_size=size)


def test_a_size_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--obs-keys names which of them are read"):
        open_source(lerobot_set(tmp_path / "x", lerobot([4])), image_size=(8, 8))


@pytest.mark.parametrize(
    ("kind", "mode", "channels"),
    [("PNG", "L", 1), ("PNG", "RGBA", 4), ("PNG", "P", 3), ("PNG", "1", 1), ("JPEG", "RGB", 3)],
)
def test_every_kind_of_image_of_bytes_is_read(kind, mode, channels):
    from trajrl.formats.base.encoded_image import decode

    out = io.BytesIO()
    image = Image.fromarray(pictures(1)[0]).convert(mode)
    image.save(out, kind)
    frame = decode(out.getvalue(), "x")
    assert frame.shape == (12, 16, channels)
    assert frame.dtype == np.uint8


def bomb(kind: str) -> bytes:
    """Return an image whose head claims far more pixels than it holds."""
    raw = bytearray(png(pictures(1)[0], kind))
    if kind == "PNG":
        import zlib

        raw[16:24] = (5000).to_bytes(4, "big") * 2
        raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
    else:
        place = raw.index(b"\xff\xc0") + 5
        raw[place : place + 4] = (5000).to_bytes(2, "big") * 2
    return bytes(raw)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "holds no PNG or JPEG image"),
        (b"not an image", "holds no PNG or JPEG image"),
        (png(pictures(1)[0], "BMP"), "holds no PNG or JPEG image"),
        (png(pictures(1)[0], "GIF"), "holds no PNG or JPEG image"),
        (png(pictures(1)[0])[:-200], "is damaged"),
        (png(pictures(1, 64, 64)[0], "JPEG")[:-2000], "is damaged"),
        (bomb("PNG"), "is an image of 5000 x 5000 pixels; at most 16,777,216 are unpacked"),
        (bomb("JPEG"), "is an image of 5000 x 5000 pixels; at most 16,777,216 are unpacked"),
        (
            png(np.zeros((4, 4), np.uint16)),
            r"is an image of \(4, 4, 1\); info.json says \(12, 16, 3\)",
        ),
        (png(pictures(1, 6, 8)[0]), r"is an image of \(6, 8, 3\); info.json says \(12, 16, 3\)"),
        (None, "has no image in row 5 but the name 'frame_5.png'"),
    ],
)
def test_an_image_that_is_none_is_refused_by_its_place(raw, said, tmp_path):
    frames = pictures(9)
    folder = lerobot_set(tmp_path / "x", lerobot(LENGTHS))
    with_column(folder, TOP, [png(frame) if row != 5 else raw for row, frame in enumerate(frames)])
    described(folder, TOP, "image", frames.shape[1:])
    with pytest.raises(ValueError, match=said) as caught:
        import_source(open_source(folder, obs_keys=(TOP,)), tmp_path / "x.h5")
    assert "row 5" in str(caught.value)
    assert f"'{TOP}'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


def test_a_column_that_holds_no_images_is_refused(tmp_path):
    folder = lerobot_set(tmp_path / "x", lerobot(LENGTHS, front=np.zeros((9, 4), np.float32)))
    described(folder, "front", "image", (12, 16, 3))
    with pytest.raises(ValueError, match=r"'front' holds fixed_size_list.* encoded images, .* are due"):
        read(folder, obs_keys=("front",))


def test_one_image_repeated_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("trajrl.store.file.bounds.UNPACKED", 1 << 20)
    folder = pictured(tmp_path / "x", pictures(9))
    whole = pq.read_table(folder / DATA)
    cells = pa.array([{"bytes": bytes(1 << 20), "path": ""}] * 9, whole.column(TOP).type)
    table = whole.set_column(whole.column_names.index(TOP), TOP, cells)
    pq.write_table(table, folder / DATA, compression="zstd", use_dictionary=False)
    with pytest.raises(ValueError, match=r"unpacks to 9 MiB, more than 50 times its size"):
        read(folder, obs_keys=(TOP,))


def test_an_episode_whose_images_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("trajrl.formats.base.episode_images.EPISODE_BYTES", 4 * 12 * 16 * 3)
    folder = pictured(tmp_path / "x", pictures(9))
    with pytest.raises(ValueError, match=r"episode 1 has 5 frames or more.*--image-size makes them smaller"):
        read(folder, obs_keys=(TOP,))


# Videos.


@pytest.fixture
def av():
    """Return PyAV, or skip."""
    return pytest.importorskip("av", reason="PyAV is not installed")


def film(path: Path, frames: np.ndarray, codec: str = "libx264", rate: int = 10) -> None:
    """Write a video as LeRobot does: a whole frame every second one."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream_ = container.add_stream(codec, rate=rate)
        stream_.height, stream_.width, stream_.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream_.options = {"g": "2", "crf": "30"}
        for frame in frames:
            for packet in stream_.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream_.encode():
            container.mux(packet)


def decoded(path: Path) -> np.ndarray:
    """Return all frames of a video, by PyAV's plain loop."""
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def steps(count: int) -> np.ndarray:
    """Return frames (n, 64, 64, 3), each with a grey of its own."""
    grey = (np.arange(count) * 20 + 10).astype(np.uint8)
    return np.broadcast_to(grey[:, None, None, None], (count, 64, 64, 3))


def filmed(folder: Path, version: str = "v3.0", codec: str = "libx264", **more) -> Path:
    """Write a set with a video: of all episodes in version 3, of each in version 2."""
    lerobot_set(folder, lerobot(LENGTHS, **more), version)
    described(folder, TOP, "video", (64, 64, 3))
    frames = steps(9)
    if version == "v3.0":
        film(folder / "videos" / TOP / "chunk-000/file-000.mp4", frames, codec)
        listed(folder, 0.0, 0.4, 0.9)
    else:
        for e, part in enumerate((frames[:4], frames[4:])):
            film(folder / "videos/chunk-000" / TOP / f"episode_{e:06d}.mp4", part, codec)
    return folder


def listed(folder: Path, *seconds: float) -> None:
    """Say in the list of episodes where each lies in the video."""
    place = folder / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(place)
    columns = {"chunk_index": [0, 0], "file_index": [0, 0], "from_timestamp": list(seconds[:-1]),
               "to_timestamp": list(seconds[1:])}  # fmt: skip
    for name, values in columns.items():
        full = f"videos/{TOP}/{name}"
        table = table.drop([full]) if full in table.column_names else table
        table = table.append_column(full, pa.array(values))
    pq.write_table(table, place)


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_videos_become_columns_frame_by_frame(version, codec, tmp_path, av):
    folder = filmed(tmp_path / "x", version, codec)
    due = np.concatenate([decoded(path) for path in sorted(folder.rglob("*.mp4"))])
    assert np.abs(due[:, 0, 0, 0] - np.arange(9) * 20.0 - 10).max() < 8  # each frame has its own grey
    import_source(open_source(folder, obs_keys=("observation.state", TOP)), tmp_path / "x.h5")
    store = TrajectoryStore.open(tmp_path / "x.h5")
    np.testing.assert_array_equal(store.images[TOP].slice(0, 10), due[[0, 1, 2, 3, 3, 4, 5, 6, 7, 8]])
    kept = store.attributes["provenance"]
    assert kept["files"] == (7 if version == "v2.1" else 5)  # the videos were read
    assert "frames" not in kept["versions"]


@pytest.mark.parametrize("name", ["v21-video", "v30-video"])
def test_videos_that_the_official_package_wrote_show_the_frames_that_it_was_given(name, av):
    frames, due = official(name).astype(int), official("v30-image").astype(int)
    far = np.abs(frames[:, None] - due[None]).mean((2, 3, 4))  # (15, 15)
    np.testing.assert_array_equal(far.argmin(1), np.arange(15))
    assert far.diagonal().max() < 15 < np.sort(far, 1)[:, 1].min()


def test_frames_are_found_where_an_episode_begins_in_the_middle(tmp_path, av):
    lengths = [7, 60, 3]
    folder = lerobot_set(tmp_path / "x", lerobot(lengths))
    described(folder, TOP, "video", (64, 64, 3))
    rng = stream(0, "film")
    frames = np.repeat(np.repeat(rng.integers(0, 256, (70, 8, 8, 3)), 8, 1), 8, 2).astype(np.uint8)
    path = folder / "videos" / TOP / "chunk-000/file-000.mp4"
    film(path, frames, rate=10)
    place = folder / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(place)
    edges = np.cumsum([0, *lengths]) / 10
    for name, values in (("chunk_index", [0] * 3), ("file_index", [0] * 3), ("from_timestamp", edges[:-1]),
                         ("to_timestamp", edges[1:])):  # fmt: skip
        table = table.append_column(f"videos/{TOP}/{name}", pa.array(values))
    pq.write_table(table, place)
    episodes, source = read(folder, obs_keys=(TOP,))
    np.testing.assert_array_equal(np.concatenate([one.images[TOP][:-1] for one in episodes]), decoded(path))
    assert "frames_off_time" not in source.notes.counts


def test_frames_of_a_video_are_made_smaller(tmp_path, av):
    episodes, _ = read(filmed(tmp_path / "x"), obs_keys=(TOP,), image_size=(16, 32))
    assert episodes[0].images[TOP].shape == (5, 16, 32, 3)


def test_frames_off_their_time_are_said(tmp_path, av):
    folder = filmed(tmp_path / "x", timestamp=np.concatenate([np.arange(4), np.arange(5)]) / 10 + 0.02)
    listed(folder, 0.0, 0.4, 1.0)
    _, source = read(folder, obs_keys=(TOP,))
    assert source.notes.counts["frames_off_time"] == 9


def short(folder: Path) -> None:
    film(folder / "videos" / TOP / "chunk-000/file-000.mp4", steps(7))


def broken(folder: Path) -> None:
    path = folder / "videos" / TOP / "chunk-000/file-000.mp4"
    raw = bytearray(path.read_bytes())
    start = raw.index(b"mdat") + 750  # behind what the encoder says of itself
    raw[start : start + 60] = bytes(60)
    path.write_bytes(raw)


def cut(folder: Path) -> None:
    path = folder / "videos" / TOP / "chunk-000/file-000.mp4"
    path.write_bytes(path.read_bytes()[:-300])


def pointer(folder: Path) -> None:
    path = folder / "videos" / TOP / "chunk-000/file-000.mp4"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")


def unknown(folder: Path) -> None:
    path = folder / "videos" / TOP / "chunk-000/file-000.mp4"
    path.write_bytes(path.read_bytes().replace(b"avc1", b"xyz1"))


def gone(folder: Path) -> None:
    (folder / "videos" / TOP / "chunk-000/file-000.mp4").unlink()


def unlisted(folder: Path) -> None:
    place = folder / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(place)
    pq.write_table(table.drop([name for name in table.column_names if name.startswith("videos")]), place)


def other_size(folder: Path) -> None:
    described(folder, TOP, "video", (32, 64, 3))


def no_rate(folder: Path) -> None:
    described(folder, TOP, "video", (64, 64, 3), fps=0)


def odd_name(folder: Path) -> None:
    described(folder, TOP, "video", (64, 64, 3), video_path="videos/{video_key.__class__}/{secret}.mp4")


def outside(folder: Path) -> None:
    described(folder, TOP, "video", (64, 64, 3), video_path="../y.mp4")
    film(folder.parent / "y.mp4", steps(9))


def playlist(folder: Path) -> None:
    film(folder / "secret.mp4", steps(9))
    path = folder / "videos" / TOP / "chunk-000/file-000.mp4"
    path.write_text(f"ffconcat version 1.0\nfile '{folder}/secret.mp4'\n")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (short, r"file-000.mp4 has no frame at 0.\d00 seconds .* shorter than the data say"),
        (broken, "file-000.mp4 is damaged"),
        (cut, "file-000.mp4 .*(is damaged|is no mp4 video|has no frame)"),
        (pointer, "file-000.mp4 is no mp4 video that can be read"),
        (playlist, "file-000.mp4 is no mp4 video that can be read"),
        (unknown, "file-000.mp4 is no mp4 video that can be read"),
        (gone, "file-000.mp4: no such file, which shows"),
        (unlisted, f"its list does not say where '{TOP}' of episode 0 lies"),
        (other_size, r"shows frames of \(64, 64, 3\); info.json says \(32, 64, 3\)"),
        (no_rate, "info.json has no fps"),
        (odd_name, "asks for 'secret'"),
        (outside, "is a link out of|no such file"),
        (lambda folder: listed(folder, 0.0, 0.2, 0.9), "its list ends .* at 0.200 seconds"),
    ],
)
def test_a_video_that_does_not_fit_is_one_line_and_nothing_is_left(harm, said, tmp_path, av):
    folder = filmed(tmp_path / "x")
    harm(folder)
    with pytest.raises((ValueError, OSError), match=said) as caught:
        import_source(open_source(folder, obs_keys=(TOP,)), tmp_path / "x.h5")
    assert "\n" not in str(caught.value)
    assert not [one for one in tmp_path.iterdir() if one.name not in ("x", "y.mp4")]


def test_time_stamps_that_go_back_are_refused(tmp_path, av):
    times = np.concatenate([np.arange(4), np.arange(5)]) / 10
    times[7] = 0.1
    with pytest.raises(ValueError, match=r"episode 1 .*time stamps do not rise"):
        read(filmed(tmp_path / "x", timestamp=times.astype(np.float32)), obs_keys=(TOP,))


def test_arrow_is_not_asked_for_the_columns_of_a_footer(tmp_path):
    """It ends the process where a footer contradicts itself."""
    path = tmp_path / "x.parquet"
    encoded = pa.array([b"x" * 1000] * 8, pa.binary())
    pq.write_table(pa.table({"front": encoded}), path, row_group_size=4, use_dictionary=False)
    schema_alone = SimpleNamespace(schema_arrow=pq.read_schema(path))
    assert rows_at_once(path, schema_alone, ["front"]) == (512 << 20) // bytes_of(path)[0]["front"]
    assert rows_at_once(path, schema_alone, []) == 512 << 20
