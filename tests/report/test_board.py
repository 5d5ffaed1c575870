"""What TensorBoard is given, read back from the event files."""

import io

import numpy as np
import pandas as pd
from imageio.v3 import imread, imwrite
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trajrl.report import board
from trajrl.report.clips import Clip
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore


def read(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tb"), size_guidance={"images": 0, "histograms": 0})
    return events.Reload()


def test_histograms_count_every_episode_that_has_a_number(tmp_path):
    episodes = pd.DataFrame({"draws": [1, 2, 3], "td_mean": [0.5, np.nan, 1.0], "probability": [np.nan] * 3})
    board.histograms(tmp_path, episodes, 7)
    events = read(tmp_path)
    assert sorted(events.Tags()["histograms"]) == ["episodes/draws", "episodes/td_error"]
    (drawn,) = events.Histograms("episodes/draws")
    assert (drawn.step, drawn.histogram_value.num, drawn.histogram_value.sum) == (7, 3.0, 6.0)
    assert events.Histograms("episodes/td_error")[0].histogram_value.num == 2.0


def test_trajectories_become_an_embedding_with_their_columns(tmp_path):
    rng = np.random.Generator(np.random.Philox(0))
    store = TrajectoryStore.of(
        Episode(rng.normal(size=(n + 1, 4)), np.zeros((n, 1)), np.ones(n), True) for n in range(5, 17)
    )
    board.embedding(tmp_path, store, None, 3)
    (place,) = (tmp_path / "tb").glob("*/trajectories")
    points = np.loadtxt(place / "tensors.tsv")
    assert points.shape == (12, 3)
    lines = (place / "metadata.tsv").read_text().splitlines()
    assert lines[0].split("\t")[:3] == ["trajectory", "cluster", "return"]
    assert len(lines) == 13
    assert "trajectories" in (tmp_path / "tb/projector_config.pbtxt").read_text()


def test_a_video_becomes_a_moving_picture(tmp_path):
    frames = np.zeros((25, 48, 64, 3), np.uint8)
    frames[:, :, :, 0] = np.arange(25)[:, None, None] * 10
    mp4 = io.BytesIO()
    imwrite(mp4, frames, extension=".mp4", fps=25, macro_block_size=2)
    board.videos(tmp_path, [Clip("best", "best: episode 1", mp4.getvalue())], 9)
    (picture,) = read(tmp_path).Images("videos/best")
    assert (picture.step, picture.width, picture.height) == (9, 64, 48)
    moving = imread(picture.encoded_image_string, extension=".gif", index=None)
    assert len(moving) >= 10
    assert moving[-1][..., 0].mean() > moving[0][..., 0].mean() + 100
