"""What acting sees is what training saw, bit for bit: state and images, by way of queue and of store."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from actors import Watcher

from trajrl import TrajectoryStore, gather
from trajrl.agents.base.protocol import history_of
from trajrl.envs.base.suite import Suite
from trajrl.envs.toy import RoomsPixels
from trajrl.rollout.collector import Collector, Streams, in_order
from trajrl.store.window import Anchors


class BothKeys(RoomsPixels):
    """Rooms with its place beside the image, and a second, smaller image."""

    def __init__(self) -> None:
        from gymnasium.spaces import Box, Dict

        small = Box(0, 255, (16, 16, 3), np.uint8)
        self.observation_space = Dict(
            {"pixels": RoomsPixels.observation_space, "arm": Box(-2, 2, (4,), np.float32), "small": small}
        )

    def _see(self):
        pixels = super()._see()
        place = np.array([self._x, self._y, *self._goal], np.float32)
        return {"pixels": pixels, "arm": place, "small": pixels[::4, ::4]}


class BothSuite(Suite):
    prefix = "both"

    def build(self, seed: int, render: bool):
        import gymnasium

        return gymnasium.wrappers.TimeLimit(BothKeys(), 9)


@pytest.mark.parametrize("keys", [("pixels",), ("small", "state", "pixels"), ("state", "small")])
def test_acting_sees_what_training_saw(keys: tuple[str, ...]) -> None:
    from trajrl.envs.base.wrappers import EnvOptions

    suite = BothSuite("rooms", EnvOptions(obs_keys=keys))
    watcher = Watcher(2, suite.images)
    collector = Collector(suite, watcher, Streams(4), 1, num_episodes=2)
    episodes = [finished.episode for finished in in_order(collector)]
    store = TrajectoryStore.of(episodes)
    store.keep_keys(keys)
    assert list(store.images) == list(suite.images) == [key for key in keys if key != "state"]
    anchors = [(e, step) for e, episode in enumerate(episodes) for step in range(0, len(episode), 2)]
    assert len(anchors) == len(watcher.shown) > 8
    e, step = map(np.array, zip(*anchors))
    seen = history_of(gather(store, Anchors(e, step, np.ones(len(e), np.float32)), watcher.spec))
    for row, shown in enumerate(watcher.shown):
        for trained, acted in zip((*seen[:3], *seen.images), (*shown[:3], *shown.images), strict=True):
            assert trained.dtype == acted.dtype
            assert torch.equal(trained[row : row + 1], acted)


def test_an_environment_without_a_key_says_what_it_has() -> None:
    from trajrl.envs.base.wrappers import EnvOptions

    with pytest.raises(ValueError, match=r"no observation key 'pixel'; did you mean 'pixels'"):
        BothSuite("rooms", EnvOptions(obs_keys=("pixel",)))


@pytest.mark.slow
@pytest.mark.parametrize("obs_dim", [0, 2])
@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_an_exported_policy_sees_images_as_the_live_one_does(tmp_path, format: str, obs_dim: int) -> None:
    from tests.store.episodes import every_anchor, filmed
    from trajrl import make_agent
    from trajrl.rollout import export

    store = TrajectoryStore.of(filmed(5, index, obs_dim) for index in range(3))
    agent = make_agent(
        "acfql", obs_dim, 2, images=store.image_shapes, chunk=2, history=2, width=16, depth=1, gru_width=8,
        image_features=4, image_width=0.25, image_crop=0.3,
    )  # fmt: skip
    seen = history_of(gather(store, every_anchor(store), agent.spec))
    windows = [
        export.act_noted(agent, seen.rows(slice(i, i + 1)), 0, i, tuple(store.images)) for i in range(4)
    ]
    export.write_policy(agent, windows, {}, tmp_path / "policy", format)
    assert export.largest_difference(export.read(tmp_path / "policy", format), windows) < export.TOLERANCE
