"""TensorBoard beyond scalars: histograms of what was drawn, trajectories as an embedding, videos.

Each function opens its own writer on the run's tb/ folder, so it serves a run under way and one that ended.
A video is a GIF in an image summary: TensorBoard shows it moving, and it needs no further package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajrl.report.space import trajectory_cloud

if TYPE_CHECKING:
    import pandas as pd
    from torch.utils.tensorboard import SummaryWriter

    from trajrl.report.clips import Clip
    from trajrl.store.store import TrajectoryStore

COLUMNS = {"draws": "draws", "td_mean": "td_error", "probability": "probability", "returns": "return"}
RATE = 10  # frames per second of a GIF, and every so many of a video's 25


def histograms(folder: Path, episodes: pd.DataFrame, step: int) -> None:
    """Write how draws, TD errors, probabilities and returns are spread over the episodes."""
    with _writer(folder) as writer:
        for column, name in COLUMNS.items():
            values = episodes[column].to_numpy(float) if column in episodes else np.zeros(0)
            values = values[np.isfinite(values)]
            if len(values):
                writer.add_histogram(f"episodes/{name}", values, step)


def embedding(folder: Path, store: TrajectoryStore, episodes: pd.DataFrame | None, step: int) -> None:
    """Write the trajectories along three principal components, with what is known of each."""
    cloud = trajectory_cloud(store, episodes)
    rows = [[str(value) for value in row] for row in zip(cloud.labels, *cloud.columns.values())]
    header = ["trajectory", *cloud.columns]
    with _writer(folder) as writer:
        writer.add_embedding(cloud.points, rows, tag="trajectories", metadata_header=header, global_step=step)


def videos(folder: Path, clips: Sequence[Clip], step: int) -> None:
    """Write clips as moving pictures under videos/ROLE."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    with _writer(folder) as writer:
        for clip in clips:
            gif, (height, width) = as_gif(clip.mp4)
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
            summary = Summary(value=[Summary.Value(tag=f"videos/{clip.role}", image=image)])
            writer._get_file_writer().add_summary(summary, step)


def as_gif(mp4: bytes) -> tuple[bytes, tuple[int, int]]:
    """Return an MP4 as an animated GIF of about ten frames per second, with its height and width."""
    from imageio.v3 import imread, imwrite

    frames = np.asarray(imread(mp4, extension=".mp4"))[:: max(1, round(25 / RATE))]  # (F, height, width, 3)
    gif = imwrite("<bytes>", frames, extension=".gif", duration=1000 / RATE, loop=0)
    return bytes(gif), (int(frames.shape[1]), int(frames.shape[2]))


@contextmanager
def _writer(folder: Path) -> Iterator[SummaryWriter]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tb"), filename_suffix=".report")
    try:
        yield writer
    finally:
        writer.close()
