"""Videos: MP4s of the first episodes of an evaluation, rendered in software where there is no display."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajrl.core.atomic_files import Scratch
from trajrl.core.rendering import BACKENDS, choose_backend

if TYPE_CHECKING:
    from trajrl.envs.base.protocol import EnvSuite
    from trajrl.rollout.history_queue import Actor

SHADOW = 1024  # pixels across


def record(agent: Actor, suite: EnvSuite, seed: int, step: int, count: int, folder: Path) -> list[Path]:
    """Run the first `count` episodes of the evaluation (seed, step) again and write one MP4 of each."""
    choose_backend()
    from imageio import get_writer

    from trajrl.rollout.evaluate import evaluate

    place = folder / "videos"
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"step-{step:09d}-seed-{seed}-episode-{episode}.mp4" for episode in range(count)]
    writers: dict[int, Any] = {}
    scratch = [Scratch(path) for path in paths]

    def watch(episode: int, env: Any) -> None:
        """Add the frame before a step."""
        if episode not in writers:
            draw_lightly(env)
            writers[episode] = get_writer(
                scratch[episode].folder / paths[episode].name, fps=frames_per_second(env), macro_block_size=2
            )
        writers[episode].append_data(frame_of(env, suite.name))

    try:
        evaluate(agent, suite, seed, step, count, envs=1, render=True, watch=watch)
        for episode, writer in writers.items():
            writer.close()
            scratch[episode].publish(scratch[episode].folder / paths[episode].name)
    finally:
        for writer in writers.values():
            writer.close()
        for waiting in scratch:
            waiting.remove()
    return [paths[episode] for episode in sorted(writers)]


def draw_lightly(env: Any) -> None:
    """Ask MuJoCo for coarse shadows and plain edges, before its first frame, where no card draws them.

    At their defaults they take four fifths of the time of a frame.
    """
    model: Any = getattr(env.unwrapped, "model", None)
    if os.environ.get("MUJOCO_GL") in BACKENDS and hasattr(model, "vis"):
        model.vis.quality.offsamples = 0
        model.vis.quality.shadowsize = min(SHADOW, model.vis.quality.shadowsize)


def draw_small(env: Any, width: int) -> None:
    """Draw a small picture from the start, without shadows and reflections, where no card draws it.

    A frame of Hopper takes a fifth of the time.
    """
    draw_lightly(env)
    renderer: Any = getattr(env.unwrapped, "mujoco_renderer", None)
    if os.environ.get("MUJOCO_GL") not in BACKENDS or not hasattr(renderer, "_get_viewer"):
        return
    from mujoco import mjtRndFlag

    height = max(2, renderer.height * width // max(1, renderer.width) // 2 * 2)
    renderer.width, renderer.height = width, height
    env.unwrapped.model.vis.quality.shadowsize = 0
    renderer._get_viewer("rgb_array").scn.flags[mjtRndFlag.mjRND_REFLECTION] = 0


class NoFramesError(ValueError):
    """An environment that cannot be filmed."""


def frame_of(env: Any, name: str) -> Any:
    """Render one frame (height, width, 3) uint8."""
    try:
        frame = env.render()
    except NotImplementedError:
        frame = None
    if getattr(frame, "ndim", 0) != 3:
        raise NoFramesError(f"{name} gives no frames: its render() must return (height, width, 3) pixels")
    return frame


def frames_per_second(env: Any) -> int:
    """Return the environment's own rate, else 30."""
    return int(env.metadata.get("render_fps") or 30)
