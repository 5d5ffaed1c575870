"""Strips of frames: which windows, what their pictures hold, and that they stay small."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from episodes import counting, filmed, write
from matplotlib.image import imread

from trajrl import Anchors, TrajectoryStore, WindowSpec
from trajrl.cli.main import dispatch
from trajrl.core.rng import stream
from trajrl.report.charts.filmstrips import EACH, IN_WINDOW, MOST_KEYS, episode_strips, evenly, window_strips
from trajrl.report.draw.strip import GAP, MOST_SIDE, coloured, png, side_by_side, smaller
from trajrl.report.page.contents import Contents, Filmstrips, Section
from trajrl.report.page.html import render
from trajrl.samplers import make_sampler
from trajrl.training.run_dir.checkpoint_parts import read_part, write_part
from trajrl.training.run_dir.episode_stats import EpisodeStats


def opened(content: bytes) -> np.ndarray:
    """Read a PNG by another program than wrote it: (height, width, 4) of bytes."""
    return np.round(255 * imread(BytesIO(content), "png")).astype(np.uint8)


def seen(count: int = 12) -> TrajectoryStore:
    return TrajectoryStore.of(filmed(7, index) for index in range(count))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 9])
def test_a_strip_holds_the_frames_it_was_made_of(channels: int) -> None:
    frames = stream(0, "test").integers(0, 256, (3, 5, 7, channels), np.uint8)
    strip = opened(png(side_by_side(frames)))
    assert strip.shape == (5, 3 * 7 + 2 * GAP, 4)
    for place in range(3):
        left = place * (7 + GAP)
        shown = frames[place][..., :3] if channels >= 3 else frames[place][..., [0, 0, 0]]
        np.testing.assert_array_equal(strip[:, left : left + 7, :3], shown)
        assert (strip[:, left : left + 7, 3] == 255).all()
        assert (strip[:, left + 7 : left + 7 + GAP, 3] == 0).all()


@pytest.mark.parametrize("shape", [(480, 640), (81, 80), (1, 500), (500, 1), (80, 80)])
def test_large_frames_become_small_ones_of_the_same_colour(shape: tuple[int, int]) -> None:
    frames = np.full((2, *shape, 3), (10, 20, 30), np.uint8)
    small = smaller(frames, MOST_SIDE)
    assert max(small.shape[1:3]) <= MOST_SIDE
    assert (coloured(small) == (10, 20, 30)).all()


def test_steps_are_evenly_apart_and_hold_both_ends() -> None:
    assert evenly(0, 50, 6).tolist() == [0, 10, 20, 30, 40, 50]
    assert evenly(3, 5, 9).tolist() == [3, 4, 5]
    assert evenly(2, 2, 5).tolist() == [2]


def test_windows_drawn_most_and_least_are_told_with_their_draws() -> None:
    store = seen()
    counts = np.zeros(len(store.actions), np.uint32)
    counts[store.table.start] = np.arange(1, len(store) + 1)  # the first step of episode e: e + 1 times
    item = window_strips(store, counts, WindowSpec(2, 1, 3), 0, "w")
    most, least = item.groups["Drawn most"], item.groups["Drawn least"]
    assert most[0].text == "episode 11, step 0, drawn 12 times"
    assert [one.text.split(",")[0] for one in most] == [f"episode {e}" for e in (11, 10, 9, 8, 7)]
    assert len(least) == EACH
    assert all(one.text.endswith("never drawn") for one in least)
    last = min(3, int(store.table.length[11]))
    (front, _) = most[0].pictures
    at = ", ".join(map(str, range(last + 1)))
    assert front.alt == f"{last + 1} frames of front, episode 11, at steps {at}"
    strip = opened(front.png)
    assert (strip.shape[1], strip.shape[0]) == (front.width, front.height)
    assert strip[0, 0, 0] == 1  # every byte of frame u of `front` is u + 1
    assert strip[0, -1, 0] == last + 1


def test_held_out_episodes_are_not_among_them() -> None:
    store = seen()
    store.evict([3, 4])
    item = window_strips(store, np.zeros(len(store.actions), np.uint32), WindowSpec(1), 0, "w")
    texts = [one.text for group in item.groups.values() for one in group]
    assert not [text for text in texts if text.startswith(("episode 3,", "episode 4,"))]


def test_draws_of_windows_are_counted_kept_and_gone_on_with(tmp_path: Path) -> None:
    store = seen(4)
    stats = EpisodeStats(store, make_sampler("uniform", store))
    drawn = Anchors(np.array([1, 1, 3]), np.array([0, 0, 0]), np.ones(3, np.float32))
    stats.record(drawn, np.zeros(3), 1)
    write_part(tmp_path, "provenance", stats.state_dict())
    later = EpisodeStats(store, make_sampler("uniform", store))
    later.load_state_dict(read_part(tmp_path, "provenance"))
    store.append(filmed(7, 9))
    later.record(drawn, np.zeros(3), 2)
    counts = later.windows.counts()
    assert len(counts) == len(store.actions)
    assert counts[store.table.start[:4]].tolist() == [0, 4, 0, 2]
    assert counts.sum() == 6
    stats.load_state_dict({n: v for n, v in stats.state_dict().items() if n != "windows"})
    assert stats.windows is None  # counted from the middle on, it would say something else


def test_without_images_nothing_is_counted_or_shown() -> None:
    store = TrajectoryStore.of([counting(3), counting(4)])
    stats = EpisodeStats(store, make_sampler("uniform", store))
    assert stats.windows is None
    assert "windows" not in stats.state_dict()
    assert episode_strips(store, [0], "k") is None


def test_the_page_holds_a_bounded_number_of_small_pictures_with_words(tmp_path: Path) -> None:
    store = seen(40)
    item = window_strips(store, np.ones(len(store.actions), np.uint32), WindowSpec(3, 1, 8), 0, "w")
    text = render(Contents("t", [], [Section("s", "S", "", [item])]), [])
    images = re.findall(r'<img alt="([^"]+)" width="(\d+)" height="(\d+)" src="data:image/png;base64,', text)
    assert len(images) == 2 * EACH * MOST_KEYS
    assert all(int(width) <= IN_WINDOW * (MOST_SIDE + GAP) for _, width, _ in images)
    assert "img-src data:" in text


def test_strips_that_find_no_room_are_left_out_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from trajrl.report.page import html

    monkeypatch.setattr(html, "MOST_BYTES", html.MARGIN_BYTES)
    left_out: list[str] = []
    item = episode_strips(seen(2), [0, 1], "k")
    assert "<img" not in render(Contents("t", [], [Section("s", "S", "", [item])]), left_out)
    assert left_out[0].startswith("'Frames of these episodes' was left out")


def test_the_page_of_a_store_and_of_an_episode_show_frames(tmp_path: Path) -> None:
    from trajrl.report.page.dataset import compose_dataset

    path = write(tmp_path / "x.h5", [filmed(7, index) for index in range(8)])
    (item,) = [one for one in compose_dataset(path, doctor=False).items() if isinstance(one, Filmstrips)]
    assert len(item.groups[""]) == 5
    words = ["store", "show", str(path), "--episode", "3", "--out"]
    assert dispatch([*words, str(tmp_path / "e.html")]) == 0
    assert len(re.findall("<img alt=", (tmp_path / "e.html").read_text())) == 2
    assert dispatch([*words, str(tmp_path / "e.svg")]) == 0
    assert (tmp_path / "e.svg").read_text().count("<image") == 2
