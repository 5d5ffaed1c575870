"""LeRobot sets whose images trajrl writes as videos: near what they were, each frame at its time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from foreign import read, store_of

from trajrl import Episode, TrajectoryStore
from trajrl.core.rng import stream
from trajrl.formats import export, import_source, open_source
from trajrl.formats.lerobot import write_videos

pytest.importorskip("av", reason="PyAV is not installed")

OFFICIAL = Path(__file__).parents[1] / "fixtures" / "lerobot"
TOP, HAND = "observation.images.top", "observation.images.hand"
LENGTHS = (5, 1, 8)
LEAST = 30  # decibels of a decoded frame against what it was


def smooth(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """Return frames (n, h, w, 3), each of its own brightness, with soft shades and one square that moves."""
    rng = stream(seed, "shades")
    row, column = np.mgrid[0:height, 0:width] / max(height, width)
    frames = np.empty((count, height, width, 3))
    for t in range(count):
        for c in range(3):
            frames[t, ..., c] = 90 + 40 * np.sin(3 * row + rng.uniform(0, 6)) + 40 * np.cos(2 * column + t)
        place = 4 * t % (width - 8)
        frames[t, 8:16, place : place + 8] = 220 - 12 * t
    return frames.clip(0, 255).astype(np.uint8)


def episodes(height: int = 64, width: int = 96) -> list[Episode]:
    """Return three episodes with two cameras."""
    found = []
    for e, length in enumerate(LENGTHS):
        rng = stream(e, "film")
        images = {"top": smooth(length + 1, height, width, e), HAND: smooth(length + 1, 64, 64, 10 + e)}
        obs = rng.standard_normal((length + 1, 3)).astype(np.float32)
        actions = rng.uniform(-1, 1, (length, 2)).astype(np.float32)
        found.append(Episode(obs, actions, np.ones(length, np.float32), e == 1, None, "push", {}, images))
    return found


def decibels(frames: np.ndarray, due: np.ndarray) -> np.ndarray:
    """Return the peak signal-to-noise ratio of each frame (n, h, w, c)."""
    error = np.square(frames.astype(float) - due).mean((1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(error, 1e-9))


@pytest.mark.parametrize("format", ["lerobot", "lerobot-v2.1"])
def test_every_frame_comes_back_near_at_its_own_place(format, tmp_path):
    export(store_of(episodes()), tmp_path / "set", format, video=True)
    source = open_source(tmp_path / "set", obs_keys=("observation.state", TOP, HAND))
    import_source(source, tmp_path / "b.h5")
    again = TrajectoryStore.open(tmp_path / "b.h5")
    assert set(again.images) == {"top", HAND}
    assert not source.notes.counts  # no frame is off its time
    for e, due in enumerate(episodes()):
        found = again.episode(e)
        np.testing.assert_array_equal(found.obs, due.obs)
        np.testing.assert_array_equal(found.actions, due.actions)
        assert found.terminated == due.terminated
        for name, frames in found.images.items():
            assert decibels(frames, due.images[name]).min() > LEAST
            far = np.abs(frames[:-1, None].astype(int) - due.images[name][None, :-1]).mean((2, 3, 4))
            np.testing.assert_array_equal(far.argmin(1), np.arange(len(due)))  # none is its neighbour
            np.testing.assert_array_equal(frames[-1], due.images[name][-1])  # what followed is kept as it was


def test_the_list_says_when_each_episode_begins_and_ends(tmp_path):
    import av

    export(store_of(episodes()), tmp_path / "set", "lerobot", video=True)
    rows = pq.read_table(tmp_path / "set/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    edges = np.cumsum([0, *LENGTHS]) / 10
    for key in (TOP, HAND):
        named = [[row[f"videos/{key}/{part}"] for row in rows] for part in ("from_timestamp", "to_timestamp")]
        np.testing.assert_allclose(named, [edges[:-1], edges[1:]], atol=1e-9)
        with av.open(str(tmp_path / f"set/videos/{key}/chunk-000/file-000.mp4")) as file:
            times = [frame.time for frame in file.decode(video=0)]
        np.testing.assert_allclose(times, np.arange(sum(LENGTHS)) / 10, atol=1e-6)


def test_columns_and_descriptions_are_those_of_the_official_package(tmp_path):
    export(store_of(episodes(64, 64)), tmp_path / "set", "lerobot", video=True)
    for name in (TOP, HAND):
        mine, theirs = (
            json.loads((place / "meta/info.json").read_text())
            for place in (tmp_path / "set", OFFICIAL / "v30-video")
        )
        theirs["features"][TOP]["info"]["video.codec"] = "h264"  # it is av1 there; both are its own
        assert mine["features"][name] == theirs["features"][TOP]
        assert mine["video_path"] == theirs["video_path"]
    listed, due = (
        pq.read_schema(place / "meta/episodes/chunk-000/file-000.parquet")
        for place in (tmp_path / "set", OFFICIAL / "v30-video")
    )
    named = [name for name in due.names if name.startswith("videos/")]
    assert all(listed.field(name).type == due.field(name).type for name in named)
    columns = pq.read_schema(tmp_path / "set/data/chunk-000/file-000.parquet").names
    assert TOP not in columns  # the frames are in the video alone


def test_version_2_has_a_video_for_each_episode(tmp_path):
    export(store_of(episodes()), tmp_path / "set", "lerobot-v2.1", video=True)
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    due = json.loads((OFFICIAL / "v21-video/meta/info.json").read_text())
    assert (info["total_videos"], info["video_path"]) == (6, due["video_path"])
    assert len(list((tmp_path / "set/videos/chunk-000" / TOP).glob("episode_00000?.mp4"))) == 3


def test_a_full_file_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(write_videos, "VIDEO_BYTES", 0)
    export(store_of(episodes()), tmp_path / "set", "lerobot", video=True)
    assert len(list((tmp_path / "set/videos" / HAND / "chunk-000").glob("*.mp4"))) == 3
    found, _ = read(tmp_path / "set", obs_keys=("observation.state", TOP))
    for one, due in zip(found, episodes(), strict=True):
        assert decibels(one.images["top"], due.images["top"]).min() > LEAST


def test_a_rate_that_is_no_whole_number_keeps_its_times(tmp_path):
    store = store_of(episodes())
    store.attributes["provenance"] = {"versions": {"fps": 29.97}}
    export(store, tmp_path / "set", "lerobot", video=True)
    found, source = read(tmp_path / "set", obs_keys=("observation.state", TOP))
    assert "frames_off_time" not in source.notes.counts
    assert decibels(found[2].images["top"], episodes()[2].images["top"]).min() > LEAST


@pytest.mark.parametrize(
    ("film", "format", "said"),
    [
        (episodes(64, 65), "lerobot", "'top' of the store is 64x65 of 3 channels: leave --video out"),
        (
            episodes(),
            "robomimic",
            "video is for lerobot and lerobot-v2.1; a robomimic file holds images as they",
        ),
        (
            [Episode(np.zeros((3, 1)), np.zeros((2, 1)), np.zeros(2), True)],
            "lerobot",
            "has no images that could",
        ),
    ],
)
def test_what_can_be_no_video_is_one_line_and_nothing_is_left(film, format, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        export(store_of(film), tmp_path / "set", format, video=True)
    assert not list(tmp_path.iterdir())


def test_without_what_encodes_the_line_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ImportError, match=r"encoded by PyAV: pip install .*\[video\]"):
        export(store_of(episodes()), tmp_path / "set", "lerobot", video=True)
    assert not list(tmp_path.iterdir())
