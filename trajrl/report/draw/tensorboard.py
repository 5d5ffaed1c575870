"""What TensorBoard shows of a run under way, beside the scalars of its log: see `board`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajrl.core.atomic_files import new_file, write_text
from trajrl.core.console import say
from trajrl.report.charts.space import trajectory_cloud
from trajrl.report.draw.clips import film_policy
from trajrl.report.draw.video import NoFramesError
from trajrl.training.config import RunConfig

if TYPE_CHECKING:
    import pandas as pd
    from torch.utils.tensorboard import SummaryWriter

    from trajrl.report.draw.clips import Clip
    from trajrl.store.store import TrajectoryStore
    from trajrl.training.run import Run

COLUMNS = {"draws": "draws", "td_mean": "td_error", "probability": "probability", "returns": "return"}
RATE = 10  # frames per second of a GIF


class LiveView:
    """Adds to tb/ after every evaluation; draws no random number and changes nothing of the run."""

    def __init__(self) -> None:
        self._given_up: set[str] = set()

    def __call__(self, run: Run, last: bool) -> None:
        """Show the run as it stands after an evaluation."""
        step = run.clock
        writer = run.logger.board(step)
        if writer is None:
            return
        episodes = run.episode_stats.frame()
        rows = episodes.reset_index()
        self._show("histograms", lambda: histograms(writer, episodes, step))
        self._show("embedding", lambda: embedding(run.folder / "tb", run.store, rows, step))
        if run.suite is not None and self._to_film(run, last):
            run.progress.say("filming episodes")
            asked = run.config.video_every != RunConfig.video_every
            self._show("videos", lambda: self._film(run, step), asked)
        writer.flush()

    def _to_film(self, run: Run, last: bool) -> bool:
        """Say whether this evaluation is one to film."""
        every, beside = run.config.video_every, run.evaluators is not None  # films would stop the training
        return every > 0 and (last or (not beside and len(run.evaluations.entries) % every == 0))

    def _film(self, run: Run, step: int) -> None:
        import pandas as pd

        assert run.suite is not None
        rows = pd.DataFrame(run.evaluations.entries[-1].rows)
        clips = film_policy(run.agent, run.suite, run.config.seed, rows, RATE)
        videos(run.logger.board(step), clips, step)
        for clip in clips:
            run.logger.video(f"videos/{clip.role}", clip.mp4, step)

    def _show(self, what: str, make: Callable[[], None], asked: bool = True) -> None:
        """Do without what cannot be shown, and say so once: a picture is no reason to end a run.

        Args:
            asked: the run's config names it; an environment that cannot be filmed is else no news.
        """
        if what in self._given_up:
            return
        try:
            make()
        except Exception as error:
            self._given_up.add(what)
            if isinstance(error, NoFramesError) and not asked:
                return
            reason = " ".join(str(error).split()) or type(error).__name__
            say(f"note: TensorBoard continues without {what}: {reason}")


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
    with new_file(place / "points.tsv") as scratch:
        np.savetxt(scratch, cloud.points, "%.6g", "\t")
    rows = [["trajectory", *cloud.columns], *zip(cloud.labels, *cloud.columns.values())]
    write_text(place / "columns.tsv", "".join("\t".join(map(_cell, row)) + "\n" for row in rows))
    config = projector.ProjectorConfig()
    shown = config.embeddings.add(tensor_name=f"trajectories at step {step}")
    shown.tensor_path, shown.metadata_path = (
        f"projector/{step}/{name}.tsv" for name in ("points", "columns")
    )
    (folder / "projector_config.pbtxt").unlink(missing_ok=True)  # it is written in place
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
