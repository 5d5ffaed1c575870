"""Embedded stores: features in place of images, the same while acting, and nothing half-written."""

from __future__ import annotations

import numpy as np
import pytest

from tests.store.episodes import filmed, write
from trajrl import TrajectoryStore
from trajrl.envs import make_suite
from trajrl.envs.toy import RoomsPixels
from trajrl.formats.base.embed import embed_store
from trajrl.nets.frozen_encoder import FrozenEncoder
from trajrl.rollout.collector import Collector, Streams, in_order
from trajrl.rollout.policies import RandomPolicy
from trajrl.store.file.verify import verify
from trajrl.training.config import RunConfig
from trajrl.training.data import find_suite


def test_features_join_the_state_and_the_rest_stays(tmp_path) -> None:
    film = [filmed(3, index) for index in range(4)]
    source = write(tmp_path / "x.h5", film)
    found = embed_store(source, tmp_path / "y.h5", "impala_small", ["state", "front"], seed=2)
    store = TrajectoryStore.open(tmp_path / "y.h5")
    assert not list(verify(tmp_path / "y.h5"))
    assert (found["obs_dim"], store.obs_dim, store.images) == (514, 514, {})
    frozen = FrozenEncoder("impala_small", {"front": (4, 5, 3)}, 2)
    for episode, kept in zip(film, store.episodes(), strict=True):
        np.testing.assert_array_equal(kept.obs[:, :2], episode.obs)
        np.testing.assert_array_equal(kept.obs[-1, 2:], frozen.one({"front": episode.images["front"][-1]}))
        np.testing.assert_array_equal(kept.actions, episode.actions)
    assert store.table.train.tolist() == [True, False, True, False]
    assert store.attributes["provenance"]["of"] == TrajectoryStore.open(source).fingerprint


def test_acting_makes_the_features_that_the_store_holds(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(RoomsPixels, "horizon", 6)
    suite = make_suite("toy:rooms-pixels")
    collector = Collector(suite, RandomPolicy(2), Streams(1), 1, num_episodes=1)
    (seen,) = (finished.episode for finished in in_order(collector))
    write(tmp_path / "x.h5", [seen], environment="toy:rooms-pixels")
    embed_store(tmp_path / "x.h5", tmp_path / "y.h5", "impala_small")
    store = TrajectoryStore.open(tmp_path / "y.h5")
    acting = find_suite(RunConfig(), store)
    collector = Collector(acting, RandomPolicy(2), Streams(1), 1, num_episodes=1)
    (again,) = (finished.episode for finished in in_order(collector))
    np.testing.assert_array_equal(again.obs, store.episode(0).obs)


def test_what_cannot_be_embedded_leaves_no_file(tmp_path) -> None:
    source = write(tmp_path / "x.h5", [filmed(3, 0)])
    for encoder, keys, said in (
        ("resnet19", (), "did you mean 'resnet18'"),
        ("impala_small", ("state",), "no images to embed among those keys"),
        (str(tmp_path / "w.pt"), ("front",), "no such file"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            embed_store(source, tmp_path / "y.h5", encoder, keys)
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


def test_other_weights_than_the_datas_are_refused(tmp_path) -> None:
    made = {"encoder": str(tmp_path / "w.pt"), "seed": 0, "weights": "0" * 32, "obs_keys": ["pixels"]}
    (tmp_path / "w.pt").write_bytes(b"other")
    with pytest.raises(ValueError, match="holds other weights than those that made"):
        make_suite("toy:rooms-pixels", embed=made)
