"""What TensorBoard is given, read back from the event files."""

import io

import numpy as np
import pandas as pd
import pytest
from imageio.v3 import imread, imwrite
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trajrl.report.charts.space import trajectory_cloud
from trajrl.report.draw import tensorboard
from trajrl.report.draw.clips import Clip
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore


@pytest.fixture
def writer(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(tmp_path / "tb"))
    yield writer
    writer.close()


def read(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tb"), size_guidance={"images": 0, "histograms": 0})
    return events.Reload()


def test_histograms_count_every_episode_that_has_a_number(writer, tmp_path):
    episodes = pd.DataFrame({"draws": [1, 2, 3], "td_mean": [0.5, np.nan, 1.0], "probability": [np.nan] * 3})
    tensorboard.histograms(writer, episodes, 7)
    writer.flush()
    events = read(tmp_path)
    assert sorted(events.Tags()["histograms"]) == ["episodes/draws", "episodes/td_error"]
    (drawn,) = events.Histograms("episodes/draws")
    assert (drawn.step, drawn.histogram_value.num, drawn.histogram_value.sum) == (7, 3.0, 6.0)
    assert events.Histograms("episodes/td_error")[0].histogram_value.num == 2.0


def shown_by_the_projector(logdir) -> tuple[dict, np.ndarray, list[list[str]]]:
    """Return what TensorBoard's own projector reads: its list of embeddings, the points and the columns."""
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.projector import projector_plugin
    from werkzeug.test import Client

    plugin = projector_plugin.ProjectorPlugin(base_plugin.TBContext(logdir=str(logdir)))
    pages = plugin.get_plugin_apps()
    listed = Client(pages["/info"]).get("/?run=.").json
    ((embedding,),) = (listed["embeddings"],)
    query = "/?run=.&name=" + embedding["tensorName"].replace(" ", "%20")
    points = np.frombuffer(Client(pages["/tensor"]).get(query).data, np.float32)
    lines = Client(pages["/metadata"]).get(query).text.splitlines()
    return embedding, points.reshape(embedding["tensorShape"]), [line.split("\t") for line in lines]


def test_trajectories_become_an_embedding_with_their_columns(tmp_path):
    rng = np.random.Generator(np.random.Philox(0))
    store = TrajectoryStore.of(
        Episode(rng.normal(size=(n + 1, 4)), np.zeros((n, 1)), np.ones(n), True, source="a\tb")
        for n in range(5, 17)
    )
    store.append(Episode(np.zeros((3, 4)), np.zeros((2, 1)), np.ones(2), True, source="c"))
    for step in (3, 9):
        tensorboard.embedding(tmp_path / "tb", store, None, step)
    embedding, points, (head, *rows) = shown_by_the_projector(tmp_path / "tb")
    assert embedding["tensorName"] == "trajectories at step 9"
    np.testing.assert_allclose(points, trajectory_cloud(store).points, rtol=1e-5)
    assert head == ["trajectory", "cluster", "return", "source", "phase", "length"]
    assert [row[3] for row in rows] == ["a b"] * 12 + ["c"]
    assert [row[5] for row in rows] == [str(n) for n in [*range(5, 17), 2]]
    assert len(list((tmp_path / "tb").rglob("*.tsv"))) == 2, "earlier steps were not cleared away"


def test_a_video_becomes_a_moving_picture(writer, tmp_path):
    frames = np.zeros((25, 48, 64, 3), np.uint8)
    frames[:, :, :, 0] = np.arange(25)[:, None, None] * 10
    mp4 = io.BytesIO()
    imwrite(mp4, frames, extension=".mp4", fps=25, macro_block_size=2)
    tensorboard.videos(writer, [Clip("best", "best: episode 1", mp4.getvalue())], 9)
    writer.flush()
    (picture,) = read(tmp_path).Images("videos/best")
    assert (picture.step, picture.width, picture.height) == (9, 64, 48)
    moving = imread(picture.encoded_image_string, extension=".gif", index=None)
    assert len(moving) >= 10
    assert moving[-1][..., 0].mean() > moving[0][..., 0].mean() + 100
