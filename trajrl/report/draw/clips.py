"""Videos of the best, the median and the worst episode of a run's last evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil, isclose
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from trajrl.core.console import progress
from trajrl.core.rendering import choose_backend
from trajrl.report.draw.video import draw_small, frame_of, frames_per_second

if TYPE_CHECKING:
    import pandas as pd

    from trajrl.envs.base.protocol import EnvSuite
    from trajrl.rollout.history_queue import Actor

RATE = 25  # frames per second as shown
SECONDS = 10  # that a video lasts at most; a longer episode is shown faster
WIDTH = 320  # pixels


@dataclass(frozen=True)
class Clip:
    """One video, as bytes."""

    role: str  # best, median, worst
    text: str  # which episode, and how fast it is shown
    mp4: bytes
    rate: int = RATE  # frames per second


def choose(evaluations: pd.DataFrame) -> dict[int, str]:
    """Return which episodes of the last evaluation to film, as what: best, median and worst by return."""
    last = evaluations[evaluations["step"] == evaluations["step"].max()]
    ranked = last.sort_values(["return", "episode"])["episode"].astype(int).tolist()
    places = {"best": len(ranked) - 1, "worst": 0, "median": len(ranked) // 2}
    return {ranked[place]: role for role, place in reversed(places.items())}  # the best wins where they meet


def film(folder: Path, evaluations: pd.DataFrame) -> list[Clip]:
    """Film the chosen episodes of the last evaluation of a run that lies in a folder."""
    from trajrl.training.run_dir.load_run import load_run

    run, step = load_run(folder), str(int(evaluations["step"].max()))
    if not run.environment(step):
        raise ValueError("there are no videos: the run names no environment")
    return film_policy(run.agent(step), run.suite(step), run.config.seed, evaluations, show=progress)


def film_policy(
    agent: Actor, suite: EnvSuite, seed: int, evaluations: pd.DataFrame, rate: int = RATE,
    show: Callable[..., Iterable[int]] = lambda steps, *_: steps,
) -> list[Clip]:  # fmt: skip
    """Film the chosen episodes of the last evaluation, run again with the policy that it was of.

    Args:
        show: shows the steps of the longest episode as they go by.
    """
    from trajrl.rollout.evaluate import evaluate

    choose_backend()
    step = int(evaluations["step"].max())
    before = evaluations[evaluations["step"] == step].set_index("episode")
    roles = choose(evaluations)
    with TemporaryDirectory() as place:
        cameras = {
            e: Camera(Path(place) / f"{e}.mp4", int(before["length"][e]), suite.name, rate) for e in roles
        }
        longest = max(roles, key=lambda e: cameras[e].length)
        ticks = iter(show(range(cameras[longest].length), "filming", cameras[longest].length, "steps"))

        def watch(episode: int, env: Any) -> None:
            """Film a step; those of the longest episode say how far it is."""
            cameras[episode].look(env)
            if episode == longest:
                next(ticks, None)

        rows = evaluate(
            agent, suite, seed, step, len(before), len(roles), only=list(roles), render=True, watch=watch
        )
        clips = [
            Clip(roles[e], f"{roles[e]}: episode {e}, {text}, {cameras[e].text}", cameras[e].finish(), rate)
            for e, text in ((row["episode"], _returned(row, before)) for row in rows)
        ]
    return sorted(clips, key=lambda clip: ("best", "median", "worst").index(clip.role))


def _returned(row: Mapping[str, Any], before: pd.DataFrame) -> str:
    """Say what the filmed episode returned, and what it did before if that is not the same."""
    text, then = f"return {row['return']:.4g}", float(before["return"][row["episode"]])
    same = isclose(row["return"], then, rel_tol=1e-4, abs_tol=1e-6)
    return text if same else f"{text} ({then:.4g} when it was evaluated)"


class Camera:
    """Films one episode: every so many steps, so that it lasts ten seconds at most."""

    def __init__(self, path: Path, length: int, name: str, shown: int = RATE) -> None:
        self.path, self.length, self.name, self.shown = path, length, name, shown
        self.stride, self.rate = 1, shown  # steps from frame to frame, and steps per second
        self._seen = 0
        self._writer: Any = None

    @property
    def text(self) -> str:
        """Say how long the episode is, and how fast it is shown where that is not its own speed."""
        speed = self.shown * self.stride / self.rate
        return f"{self.length} steps" + (
            f", shown {speed:.2g} times as fast" if abs(speed - 1) > 0.05 else ""
        )

    def look(self, env: Any) -> None:
        """Take in the state before a step."""
        from imageio import get_writer

        if self._writer is None:
            draw_small(env, WIDTH)
            self.rate = frames_per_second(env)
            self.stride = max(1, ceil(self.rate / self.shown), ceil(self.length / (SECONDS * self.shown)))
            scale = ["-vf", f"scale={WIDTH}:-2", "-crf", "30", "-movflags", "+faststart"]
            self._writer = get_writer(self.path, fps=self.shown, macro_block_size=2, output_params=scale)
        if self._seen % self.stride == 0:
            self._writer.append_data(frame_of(env, self.name))
        self._seen += 1

    def finish(self) -> bytes:
        """Return the whole video."""
        self._writer.close()
        return self.path.read_bytes()
