"""Returns to go: against a hand loop, over seams, marks, cuts and growth, and with bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from episodes import counting, every_anchor, random_episode, write
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_gather import slow_return

from trajrl import Anchors, Episode, TrajectoryStore, WindowSpec, gather
from trajrl.store import return_to_go

SPEC = WindowSpec(history=3, return_gamma=0.9)


def long_episode(seed: int, length: int, terminated: bool, marks: float = 0.0) -> Episode:
    rng = np.random.default_rng(seed)
    extras = {"terminal": rng.random(length) < marks} if marks else {}
    obs, actions = rng.standard_normal((length + 1, 2)), rng.standard_normal((length, 1))
    return Episode(obs, actions, rng.standard_normal(length), terminated, extras=extras)


def assert_returns(store: TrajectoryStore, episodes: list[Episode], spec: WindowSpec, shape=None) -> None:
    """Compare every step of a store with the hand loop."""
    anchors, shape = every_anchor(store), shape or (lambda reward: reward)
    batch = gather(store, anchors, spec)
    rows = [slow_return(episodes[e], int(t), spec, shape_reward=shape) for e, t in zip(*anchors[:2])]
    for name in ("returns", "end_discount", "end_obs", "end_prev_actions", "end_history_mask"):
        expected = np.stack([row[name] for row in rows])
        np.testing.assert_allclose(getattr(batch, name).numpy(), expected, rtol=1e-6, atol=1e-6)


def test_a_terminated_and_a_truncated_episode_back_to_back():
    store = TrajectoryStore.of([counting(3, terminated=True), counting(2, first=10)])
    batch = gather(store, every_anchor(store), WindowSpec(return_gamma=0.5))
    np.testing.assert_allclose(batch.returns, [1.75, 1.5, 1, 1.5, 1])  # nothing crosses the seam
    np.testing.assert_allclose(batch.end_discount, [0, 0, 0, 0.25, 0.5])
    assert batch.end_obs[:, 0, 0].tolist() == [3, 3, 3, 12, 12]


def test_a_mark_inside_ends_the_return_there():
    store = TrajectoryStore.of([counting(5, marks=[1])])
    batch = gather(store, every_anchor(store), WindowSpec(return_gamma=0.5))
    np.testing.assert_allclose(batch.returns, [1.5, 1, 1.75, 1.5, 1])
    np.testing.assert_allclose(batch.end_discount, [0, 0, 0.125, 0.25, 0.5])
    assert batch.end_obs[:, 0, 0].tolist() == [2, 2, 5, 5, 5]


@settings(deadline=None, max_examples=20)
@given(
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=5),
    gamma=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
    marks=st.sampled_from([0.0, 0.02, 0.5]),
    history=st.integers(1, 3),
)
def test_every_return_is_that_of_the_hand_loop(lengths, gamma, marks, history):
    episodes = [long_episode(i, length, bool(i % 2), marks) for i, length in enumerate(lengths)]
    assert_returns(TrajectoryStore.of(episodes), episodes, WindowSpec(history, return_gamma=gamma))


def test_episodes_appended_later_are_counted_and_earlier_returns_stay():
    episodes = [long_episode(i, length, bool(i % 2), 0.01) for i, length in enumerate([150, 90, 1, 300])]
    store = TrajectoryStore.of(episodes[:1])
    assert_returns(store, episodes, SPEC)
    for episode in episodes[1:]:
        store.append(episode)
        assert_returns(store, episodes, SPEC)


def test_rewards_are_those_that_training_sees():
    episodes = [long_episode(0, 130, False), long_episode(1, 70, True)]
    store = TrajectoryStore.of(episodes)
    assert_returns(store, episodes, SPEC)
    store.set_shaping(lambda rewards: 10 * rewards - 5)
    assert_returns(store, episodes, SPEC, lambda reward: 10 * reward - 5)


def test_a_store_that_was_cut_or_relabelled_forgets_its_returns():
    episodes = [long_episode(0, 130, False, 0.05), long_episode(1, 70, True, 0.05)]
    store = TrajectoryStore.of(episodes)
    assert_returns(store, episodes, SPEC)
    store.relabel(np.ones(200, np.float32), np.arange(200) == 100)
    relabelled = [store.episode(e) for e in range(2)]
    assert_returns(store, relabelled, SPEC)
    store.cut_after_success()
    assert_returns(store, [store.episode(e) for e in range(2)], SPEC)


def test_a_mapped_file_gives_the_same_returns_block_by_block(tmp_path, monkeypatch):
    episodes = [long_episode(i, 150, bool(i % 2)) for i in range(5)]
    store = TrajectoryStore.open(write(tmp_path / "x.h5", episodes), "map")
    monkeypatch.setattr(return_to_go, "BLOCK", 2)
    assert_returns(store, episodes, SPEC)
    (table,) = store.derived.values()
    assert len(table.kept) == -(-750 // 32)  # one number for 32 steps


def test_windows_that_do_not_ask_have_no_returns_and_cost_nothing():
    store = TrajectoryStore.of([random_episode(0, 0)])
    assert gather(store, every_anchor(store), WindowSpec()).returns is None
    assert not store.derived


def test_no_reward_outside_of_the_episode_is_read():
    clean, around = counting(70), counting(70)
    bad = Episode(around.obs, around.actions, around.rewards * np.nan, False)
    store = TrajectoryStore.of([bad, clean, bad])
    anchors = Anchors(np.full(70, 1), np.arange(70), np.ones(70, np.float32))
    assert torch.isfinite(gather(store, anchors, SPEC).returns).all()


def test_a_discount_outside_of_its_bounds_is_refused():
    with pytest.raises(ValueError, match=r"return_gamma must be between 0 and 1; got 1\.5"):
        WindowSpec(return_gamma=1.5)
