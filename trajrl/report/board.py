"""TensorBoard beyond scalars: histograms of what was drawn, trajectories as an embedding, videos.

A video is a GIF in an image summary: TensorBoard shows it moving, and it needs no further package.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
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
RATE = 10  # frames per second of a GIF


def histograms(writer: SummaryWriter, episodes: pd.DataFrame, step: int) -> None:
    """Write how draws, TD errors, probabilities and returns are spread over the episodes."""
    for column, name in COLUMNS.items():
        values = episodes[column].to_numpy(float) if column in episodes else np.zeros(0)
        values = values[np.isfinite(values)]
        if len(values):
            writer.add_histogram(f"episodes/{name}", values, step)


def embedding(folder: Path, store: TrajectoryStore, episodes: pd.DataFrame | None, step: int) -> None:
    """Write the trajectories along three principal components, with what is known of each.

    The projector reads files beside the events; those of an earlier step make room, or a long run would keep
    a copy of its episodes for every evaluation.
    """
    from tensorboard.plugins import projector

    cloud = trajectory_cloud(store, episodes)
    shutil.rmtree(folder / "projector", ignore_errors=True)
    place = folder / "projector" / str(step)
    place.mkdir(parents=True)
    np.savetxt(place / "points.tsv", cloud.points, "%.6g", "\t")
    rows = [["trajectory", *cloud.columns], *zip(cloud.labels, *cloud.columns.values())]
    (place / "columns.tsv").write_text("".join("\t".join(map(_cell, row)) + "\n" for row in rows))
    config = projector.ProjectorConfig()
    shown = config.embeddings.add(tensor_name=f"trajectories at step {step}")
    shown.tensor_path, shown.metadata_path = (
        f"projector/{step}/{name}.tsv" for name in ("points", "columns")
    )
    projector.visualize_embeddings(str(folder), config)


def videos(writer: SummaryWriter, clips: Sequence[Clip], step: int) -> None:
    """Write clips as moving pictures under videos/ROLE."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    for clip in clips:
        gif, (height, width) = as_gif(clip.mp4, clip.rate)
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
        summary = Summary(value=[Summary.Value(tag=f"videos/{clip.role}", image=image)])
        writer._get_file_writer().add_summary(summary, step)


def as_gif(mp4: bytes, rate: int) -> tuple[bytes, tuple[int, int]]:
    """Return an MP4 as an animated GIF of about ten frames per second, with its height and width."""
    from imageio.v3 import imread, imwrite

    frames = np.asarray(imread(mp4, extension=".mp4"))[:: max(1, round(rate / RATE))]  # (F, height, width, 3)
    gif = imwrite("<bytes>", frames, extension=".gif", duration=1000 / RATE, loop=0)
    return bytes(gif), (int(frames.shape[1]), int(frames.shape[2]))


def _cell(value: object) -> str:
    """Write a value so that it stays in its column."""
    return " ".join(str(value).split())
