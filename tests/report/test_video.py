"""Videos: one MP4 per episode, with one frame per step."""

from __future__ import annotations

import sys

import imageio
import numpy as np
import pytest
from actors import Counting

from trajrl import make_suite
from trajrl.core import rendering
from trajrl.report.draw import video


def test_a_video_has_a_frame_per_step(tmp_path):
    paths = video.record(Counting(1), make_suite("sample_envs:line"), 0, 40, 2, tmp_path)
    assert [path.parent for path in paths] == [tmp_path / "videos"] * 2
    for path in paths:
        frames = [*imageio.get_reader(path).iter_data()]
        assert len(frames) == 5
        assert frames[0].shape == (32, 48, 3)
        assert np.diff([frame.mean() for frame in frames]).min() > 0  # in the order they were seen


def test_the_episodes_are_those_of_the_evaluation(tmp_path):
    from trajrl.rollout.evaluate import evaluate

    suite, actor = make_suite("sample_envs:uneven"), Counting(1)
    lengths = [row["length"] for row in evaluate(actor, suite, 3, 40, 3)]
    paths = video.record(actor, suite, 3, 40, 3, tmp_path)
    assert [imageio.get_reader(path).count_frames() for path in paths] == lengths


def test_an_environment_without_frames_is_told_so(tmp_path):
    with pytest.raises(ValueError, match="toy:rooms gives no frames"):
        video.record(Counting(2), make_suite("toy:rooms"), 0, 0, 1, tmp_path)


@pytest.fixture
def headless(monkeypatch):
    for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM", "DISPLAY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "mujoco.rendering.classic.gl_context", raising=False)
    return monkeypatch


@pytest.mark.parametrize(("there", "chosen"), [(("OSMesa", "EGL"), "osmesa"), (("EGL",), "egl")])
def test_software_rendering_is_chosen_where_there_is_no_display(headless, there, chosen):
    import os

    headless.setattr(rendering.ctypes.util, "find_library", lambda name: name if name in there else None)
    rendering.choose_backend()
    assert os.environ["MUJOCO_GL"] == os.environ["PYOPENGL_PLATFORM"] == chosen


def test_no_way_to_render_is_said_so(headless):
    headless.setattr(rendering.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(ValueError, match="apt-get install libosmesa6"):
        rendering.choose_backend()


def test_a_choice_of_the_user_stands(headless):
    import os

    headless.setenv("MUJOCO_GL", "glfw")
    rendering.choose_backend()
    assert os.environ["MUJOCO_GL"] == "glfw"


def test_a_clip_is_drawn_small_and_lightly_and_still_shows_the_robot(headless):
    pytest.importorskip("mujoco")
    import gymnasium

    rendering.choose_backend()
    env = gymnasium.make("Hopper-v4", render_mode="rgb_array")
    env.reset(seed=0)
    video.draw_small(env, 320)
    frame = video.frame_of(env, "Hopper-v4")
    assert frame.shape == (320, 320, 3)
    assert frame.std() > 10
    assert env.unwrapped.model.vis.quality.shadowsize == 0
    env.close()
