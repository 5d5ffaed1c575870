"""What clusters say of returns, lengths and sources, against counts by hand and against shuffles."""

import numpy as np
import pytest
from populations import episode, returns_store

from trajrl.core.rng import stream
from trajrl.samplers.clustering.explained import explained, mutual_information, share_of_variance
from trajrl.store.store import TrajectoryStore


def test_the_share_of_variance_is_that_between_clusters():
    x, label = np.array([1.0, 3.0, 7.0, 9.0]), np.array([0, 0, 5, 5])
    assert share_of_variance(label, x) == pytest.approx(36 / 40)  # 4 * 3^2 of 16 + 4 + 4 + 16
    assert share_of_variance(label, np.full(4, 2.0)) is None


def test_shuffled_labels_explain_as_much_as_is_said():
    rng = stream(0, "test")
    label, x = np.repeat([0, 1, 2, 3], [40, 10, 5, 5]), rng.normal(size=60) ** 3
    mean = np.mean([share_of_variance(rng.permutation(label), x) for _ in range(4000)])
    store = returns_store(x.tolist(), [3] * 60)
    assert explained(store, label)["return"].chance == pytest.approx(3 / 59)
    assert mean == pytest.approx(3 / 59, rel=0.05)


def test_information_is_counted_in_shares_of_the_mean_entropy():
    label, source = np.array([0, 0, 1, 1]), np.array([7, 7, 7, 3])
    joint, own, other = [0.5, 0.25, 0.25], [0.5, 0.5], [0.75, 0.25]
    h = [-sum(p * np.log(p) for p in ps) for ps in (joint, own, other)]
    assert mutual_information(label, source) == pytest.approx((h[1] + h[2] - h[0]) / ((h[1] + h[2]) / 2))
    assert mutual_information(source, source) == pytest.approx(1)
    assert mutual_information(np.zeros(4, int), np.zeros(4, int)) == 0


def test_clusters_of_the_sources_say_all_of_them_and_shuffled_ones_little():
    store = TrajectoryStore.of(episode(3, float(i % 2), seed=i) for i in range(60))
    found = explained(store, np.arange(60) % 2)
    assert found["source"].share == pytest.approx(1)
    assert 0 < found["source"].chance < 0.05
    assert found["return"].share == pytest.approx(1)
    assert "length" not in found  # all have three steps
