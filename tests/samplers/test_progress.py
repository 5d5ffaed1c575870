"""Progress: what is open, what opens more, and that nothing is closed again."""

import numpy as np
import pytest
from populations import episode, fixed_anchors, population

from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.samplers.base.frontier import Frontier
from trajrl.store.store import TrajectoryStore


def tens(count: int = 12, success: bool | None = None) -> TrajectoryStore:
    """Return episodes of ten steps, all of one kind."""
    return TrajectoryStore.of(episode(10, success=success, seed=i) for i in range(count))


def opened(sampler) -> np.ndarray:
    """Return how likely each of ten steps is."""
    return np.diff(sampler.state_dict()["edges"]).reshape(-1, 10).sum(0)


def test_at_first_only_the_ends_are_open():
    sampler = make_sampler("progress", tens(), clusters=1, begin=0.2, temperature=1e-3, floor=0.0)
    np.testing.assert_allclose(opened(sampler), [0] * 7 + [1 / 3] * 3, atol=1e-12)  # d = 0.2, 0.1 and 0
    drawn = sampler.sample(stream(0, "x"), 200)
    assert set(drawn.step.tolist()) == {7, 8, 9}


def learn(sampler, error: float, start: int = 0, rows: int = 12) -> None:
    """Hand back one TD error for every step from `start` on, of `rows` episodes."""
    for step in range(start, 10):
        sampler.feedback(fixed_anchors(list(range(rows)), [step] * rows), np.full(rows, error))


def test_once_the_error_of_what_was_opened_has_fallen_more_is_opened():
    sampler = make_sampler(
        "progress", tens(), clusters=1, begin=0.2, stride=0.2, temperature=1e-3, refresh_every=1,
        rate=1.0, least=1,
    )  # fmt: skip
    for step, (error, share) in enumerate([(4.0, 0.2), (3.0, 0.2), (1.9, 0.4), (1.0, 0.4), (0.5, 0.6)], 1):
        learn(sampler, error)
        sampler.refresh(step)
        assert sampler.stats()["open"] == pytest.approx(share)
    np.testing.assert_allclose(opened(sampler)[3:], 0.95 / 7 + 0.05 / 10, atol=1e-9)


def test_only_rows_of_the_band_last_opened_count():
    frontier = Frontier(0.4, 0.2, 1.0)
    frontier.grow(1, 0)
    frontier.learn(np.zeros(4, int), np.array([0.1, 0.2, 0.3, 0.4]), np.array([9.0, 2.0, 4.0, 9.0]))
    assert (frontier.seen[0], frontier.now[0]) == (3, 5.0)


def test_time_opens_what_errors_do_not():
    sampler = make_sampler("progress", tens(), clusters=1, patience=50, refresh_every=10, least=10**6)
    found = []
    for step in range(10, 210, 10):
        learn(sampler, 1.0)
        sampler.refresh(step)
        found.append(sampler.stats()["open"])
    np.testing.assert_allclose(found, np.repeat([0.1, 0.2, 0.3, 0.4, 0.5], [4, 5, 5, 5, 1]))


def test_clusters_move_by_themselves():
    frontier = Frontier(0.5, 0.5, 1.0)
    frontier.grow(2, 0)
    for error in (4.0, 1.0):
        frontier.learn(np.array([0, 1]), np.array([0.2, 0.2]), np.array([error, 4.0]))
    assert frontier.advance(1, least=2, fall=0.5, patience=100)
    assert frontier.open.tolist() == [1.0, 0.5]
    assert not frontier.advance(2, least=2, fall=0.5, patience=100)


def test_success_of_online_episodes_opens_and_failure_closes_nothing():
    store = tens(success=True)
    sampler = make_sampler("progress", store, by="success", clusters=1, begin=0.2, window=4, refresh_every=1)
    assert "no online episode says" in sampler.notes[0]
    for step, (success, share) in enumerate(
        [(False, 0.2), (True, 0.4), (True, 0.6), (False, 0.6), (False, 0.6)], 1
    ):
        store.append(episode(10, success=success, seed=90 + step), "online")
        sampler.refresh(step)
        assert sampler.stats()["open"] == pytest.approx(share)
    assert not sampler.reads_td_errors


def test_failures_of_a_cluster_that_knows_success_wait_until_all_is_open():
    store = TrajectoryStore.of(episode(10, success=i % 2 == 0, seed=i) for i in range(8))
    options = {"clusters": 1, "temperature": 1e-3, "floor": 0.0}
    p = make_sampler("progress", store, begin=0.5, **options).probabilities()
    np.testing.assert_allclose(p, [0.25, 0] * 4, atol=1e-9)
    np.testing.assert_allclose(make_sampler("progress", store, begin=1.0, **options).probabilities(), 1 / 8)


@pytest.mark.parametrize("ess", [0.3, 0.9])
def test_ess_keeps_the_share_of_windows(ess):
    sampler = make_sampler("progress", population(), ess=ess, floor=0.0)
    p = np.diff(sampler.state_dict()["edges"])
    assert 1 / (len(p) * np.square(p).sum()) == pytest.approx(ess, rel=1e-3)


def test_the_policys_draw_moves_by_success_alone():
    with pytest.raises(ValueError, match="learns from TD errors"):
        make_sampler("policy=progress values=uniform", population())
    make_sampler("policy=progress values=uniform", population(), **{"policy.by": "success"})
    make_sampler("policy=uniform values=progress", population())
