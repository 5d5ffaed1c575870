"""The cluster sampler's pull towards clusters of high return: its law, its ramp, and its state."""

import numpy as np
import pytest

from trajrl import Episode, TrajectoryStore, make_sampler
from trajrl.core.rng import stream
from trajrl.samplers.base.distributions import Balanced
from trajrl.samplers.cluster import cluster_weights


def store() -> TrajectoryStore:
    """Three kinds of episode, far apart, with returns 0, 10 and 20."""
    return TrajectoryStore.of(
        Episode(np.full((11, 2), 100.0 * kind), np.zeros((10, 1)), np.full(10, float(kind)), True)
        for kind in (0, 0, 0, 1, 1, 2)
    )


def shares(sampler, step: int) -> list[float]:
    sampler.refresh(step)
    p = sampler.probabilities()
    return [float(p[:3].sum()), float(p[3:5].sum()), float(p[5:].sum())]


def test_weights_follow_the_standardised_mean_return():
    weights = cluster_weights(np.array([0, 0, 1]), np.array([1.0, 1.0, 3.0]), 2.0)
    assert weights == pytest.approx([np.exp(-4), 1])  # of the one drawn most


def test_without_a_pull_clusters_are_balanced():
    assert shares(make_sampler("cluster", store(), clusters=3), 1) == pytest.approx([1 / 3] * 3)


def test_the_pull_sets_in_late_and_rises():
    sampler = make_sampler("cluster", store(), clusters=3, tilt=1.0, tilt_from=10, tilt_ramp=20)
    z = np.sqrt(1.5)
    full = np.exp([-z, 0, z]) / np.exp([-z, 0, z]).sum()
    half = np.exp([-z / 2, 0, z / 2]) / np.exp([-z / 2, 0, z / 2]).sum()
    assert shares(sampler, 10) == pytest.approx([1 / 3] * 3)
    assert shares(sampler, 20) == pytest.approx(half)
    assert shares(sampler, 30) == pytest.approx(full)
    assert shares(sampler, 31) == pytest.approx(full)


def test_a_pull_below_zero_is_towards_low_returns():
    up, down = (shares(make_sampler("cluster", store(), clusters=3, tilt=t), 1) for t in (1.0, -1.0))
    assert down == pytest.approx(up[::-1])
    assert down[0] > down[1] > down[2]


def test_good_clusters_come_first_and_the_rest_is_blended_in():
    options = {"tilt_start": 1.0, "tilt": 0.0, "tilt_from": 10, "tilt_ramp": 20}
    sampler = make_sampler("cluster", store(), clusters=3, **options)
    z = np.sqrt(1.5)
    full = np.exp([-z, 0, z]) / np.exp([-z, 0, z]).sum()
    half = np.exp([-z / 2, 0, z / 2]) / np.exp([-z / 2, 0, z / 2]).sum()
    assert [shares(sampler, step) for step in (0, 10, 20, 30)] == [
        pytest.approx(full), pytest.approx(full), pytest.approx(half), pytest.approx([1 / 3] * 3),
    ]  # fmt: skip


@pytest.mark.parametrize(("option", "value"), [("tilt", float("inf")), ("tilt_ramp", -1)])
def test_a_pull_that_is_none_is_refused(option, value):
    with pytest.raises(ValueError, match=f"the sampler option '{option}' is"):
        make_sampler("cluster", store(), **{option: value})


def test_equal_returns_leave_no_pull():
    flat = TrajectoryStore.of(
        Episode(np.full((5, 2), 100.0 * i), np.zeros((4, 1)), np.ones(4), True) for i in (0, 0, 1, 1)
    )
    assert make_sampler("cluster", flat, clusters=2, tilt=5.0).probabilities() == pytest.approx([0.25] * 4)


def test_weighted_groups_come_in_their_shares_rounded_at_random():
    law = Balanced(np.arange(6), np.array([0, 0, 0, 1, 1, 2]), np.ones(6), weights=np.array([1.0, 2.0, 5.0]))
    assert law.p == pytest.approx([1 / 24] * 3 + [1 / 8] * 2 + [5 / 8])
    counts = []
    for i in range(2000):
        drawn = law.draw(stream(0, "test", i), 10)
        assert len(drawn) == 10
        counts.append(np.bincount(np.array([0, 0, 0, 1, 1, 2])[drawn], minlength=3))
    assert np.mean(counts, 0) == pytest.approx([1.25, 2.5, 6.25], abs=0.05)
    assert (np.ptp(counts, 0) <= 1).all()


def test_the_pull_is_state():
    first = make_sampler("cluster", store(), clusters=3, tilt=1.0, tilt_from=10, tilt_ramp=20)
    first.refresh(25)
    second = make_sampler("cluster", store(), clusters=3, tilt=1.0, tilt_from=10, tilt_ramp=20)
    second.load_state_dict(first.state_dict())
    for step in (26, 27, 40):
        first.refresh(step)
        second.refresh(step)
        drawn = [s.sample(stream(1, "s", step), 16) for s in (first, second)]
        assert all(np.array_equal(a, b) for a, b in zip(*drawn, strict=True))


@pytest.mark.parametrize(("tilt", "first"), [(1e3, 2), (-1e3, 0), (1e308, 2), (-1e308, 0)])
@pytest.mark.parametrize("name", ["cluster", "cluster*priority"])
def test_no_tilt_is_too_large(name, tilt, first):
    sampler = make_sampler(name, store(), clusters=3, tilt=tilt)
    assert shares(sampler, 1) == pytest.approx([float(kind == first) for kind in range(3)])
    assert np.isfinite(list(sampler.stats().values())).all()
