"""Videos of the best, the median and the worst episode of a run's last evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

RATE = 25  # frames per second as shown
MOST_FRAMES = 250  # of one video: ten seconds; a longer episode is shown faster
WIDTH = 320  # pixels


@dataclass(frozen=True)
class Clip:
    """One video, as bytes."""

    role: str  # best, median, worst
    told: str  # which episode, and how fast it is shown
    mp4: bytes


def choose(evaluations: pd.DataFrame) -> dict[int, str]:
    """Return which episodes of the last evaluation to film, as what: best, median and worst by return."""
    last = evaluations[evaluations["step"] == evaluations["step"].max()]
    ranked = last.sort_values(["return", "episode"])["episode"].astype(int).tolist()
    places = {"best": len(ranked) - 1, "worst": 0, "median": len(ranked) // 2}
    return {ranked[place]: role for role, place in reversed(places.items())}  # the best wins where they meet


def film(folder: Path, evaluations: pd.DataFrame) -> list[Clip]:
    """Run the last evaluation of a run again and film the chosen episodes."""
    from trajrl.envs import make_suite
    from trajrl.evaluate import evaluate
    from trajrl.policy import load_run
    from trajrl.report.video import choose_backend

    choose_backend()
    run = load_run(folder)
    step = int(evaluations["step"].max())
    rows = evaluations[evaluations["step"] == step].set_index("episode")
    roles = choose(evaluations)
    name = run.environment(str(step))
    if not name:
        raise ValueError("there are no videos: the run names no environment")
    count = max(roles) + 1
    with TemporaryDirectory() as place:
        cameras = {e: Camera(Path(place) / f"{e}.mp4", int(rows["length"][e]), name) for e in roles}
        agent, suite = run.agent(str(step)), make_suite(name)
        watch = _watch(cameras)
        evaluate(agent, suite, run.config.seed, step, count, run.config.eval_envs, render=True, watch=watch)
        clips = [
            Clip(
                role,
                f"{role}: episode {e}, return {rows['return'][e]:.4g}, {cameras[e].told}",
                cameras[e].finish(),
            )
            for e, role in roles.items()
        ]
    return sorted(clips, key=lambda clip: ("best", "median", "worst").index(clip.role))


class Camera:
    """Films one episode: every so many steps, so that it lasts ten seconds at most."""

    def __init__(self, path: Path, length: int, name: str) -> None:
        self.path, self.length, self.name = path, length, name
        self.stride, self.rate = 1, RATE
        self._seen = 0
        self._writer: Any = None

    @property
    def told(self) -> str:
        """Say how long the episode is, and how fast it is shown where that is not its own speed."""
        speed = RATE * self.stride / self.rate
        return f"{self.length} steps" + (
            f", shown {speed:.2g} times as fast" if abs(speed - 1) > 0.05 else ""
        )

    def look(self, env: Any) -> None:
        """Take in the state before a step."""
        from imageio import get_writer

        from trajrl.report.video import frame_of, frames_per_second

        if self._writer is None:
            self.rate = frames_per_second(env)
            self.stride = max(1, ceil(self.rate / RATE), ceil(self.length / MOST_FRAMES))
            scale = ["-vf", f"scale={WIDTH}:-2", "-crf", "30", "-movflags", "+faststart"]
            self._writer = get_writer(self.path, fps=RATE, macro_block_size=2, output_params=scale)
        if self._seen % self.stride == 0:
            self._writer.append_data(frame_of(env, self.name))
        self._seen += 1

    def finish(self) -> bytes:
        """Return the whole video."""
        self._writer.close()
        return self.path.read_bytes()


def _watch(cameras: dict[int, Camera]) -> Any:
    def watch(episode: int, env: Any) -> None:
        if episode in cameras:
            cameras[episode].look(env)

    return watch
