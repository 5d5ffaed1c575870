"""OGBench's visual tasks: acting sees what training saw, rewards, and where nothing can be rendered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from actors import Watcher

pytest.importorskip("ogbench", reason="the extra 'ogbench' is not installed")

from trajrl import TrajectoryStore, gather, make_suite
from trajrl.agents.base.protocol import history_of
from trajrl.core.rendering import choose_backend
from trajrl.envs.ogbench_names import recorded
from trajrl.formats import open_source
from trajrl.formats.base.exporter import export
from trajrl.formats.ogbench.export import write_ogbench
from trajrl.rollout.collector import Collector, Streams, collect, in_order
from trajrl.rollout.policies import RandomPolicy
from trajrl.store.window import Anchors

MAZE = "ogbench:visual-antmaze-medium-navigate-singletask-v0"
CUBE = "ogbench:visual-cube-single-play-singletask-v0"
ROOT = Path(__file__).parents[2]


def rendered(name: str, steps: int):
    """Return a suite that can render here, or skip with the reason why it cannot."""
    try:
        return make_suite(name, time_limit=steps)
    except ValueError as error:
        if "cannot render its images" in str(error) or "software rendering" in str(error):
            pytest.skip(f"nothing can be rendered here: {error}")
        raise


@pytest.mark.parametrize("name", [MAZE, pytest.param(CUBE, marks=pytest.mark.slow)])
def test_acting_sees_the_frames_that_training_draws_from_a_published_file(name, tmp_path):
    suite = rendered(name, 6)
    assert (suite.obs_dim, suite.images) == (0, {"pixels": (64, 64, 3)})
    watcher = Watcher(suite.action_dim, suite.images)
    episodes = [done.episode for done in in_order(Collector(suite, watcher, Streams(4), 1, num_episodes=1))]
    assert episodes[0].images["pixels"].std() > 5
    export(TrajectoryStore.of(episodes), tmp_path / "x.npz", write_ogbench, "ogbench")
    store = TrajectoryStore.of(open_source(tmp_path / "x.npz").episodes())
    step = np.arange(0, 6, 2)
    anchors = Anchors(np.zeros(3, np.int64), step, np.ones(3, np.float32))
    seen = history_of(gather(store, anchors, watcher.spec))
    for row, shown in enumerate(watcher.shown):
        assert torch.equal(seen.images[0][row : row + 1], shown.images[0])
    assert len(watcher.shown) == 3


@pytest.mark.slow
def test_the_same_seed_and_actions_give_the_same_frames_and_rewards_are_relabelled():
    suite = rendered(MAZE, 4)
    one, other = (
        next(collect(suite, RandomPolicy(suite.action_dim), Streams(7), 1, "random")) for _ in range(2)
    )
    np.testing.assert_array_equal(one.images["pixels"], other.images["pixels"])
    store = TrajectoryStore.of([one])
    rewards = store.rewards.slice(0, 4).copy()
    assert suite.relabel(store) == 0  # the data's physics give the rewards that the environment gave
    np.testing.assert_array_equal(store.rewards.slice(0, 4), rewards)


def test_a_visual_puzzle_is_relabelled_from_its_buttons():
    assert recorded("visual-puzzle-3x3-play-singletask-v0") == ("qpos", "qvel", "button_states")


def test_where_nothing_renders_one_line_says_what_does():
    code = f"from trajrl import make_suite\ntry: make_suite({MAZE!r})\nexcept ValueError as e: print(e)"
    environment = {**os.environ, "MUJOCO_GL": "disable"}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    said = ended.stdout.strip()
    assert said.startswith(f"{MAZE} cannot render its images (")
    assert said.endswith("they need software rendering: on Debian, apt-get install libosmesa6 (or libegl1)")
    assert "\n" not in said
    assert not ended.stderr


def test_no_library_to_render_with_is_said(monkeypatch):
    from trajrl.core import rendering

    for name in ("MUJOCO_GL", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(rendering.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(ValueError, match="the images of x need software rendering"):
        choose_backend("the images of x")
