"""Merit: the mean return to go along an episode, against a loop, over growth, relabelling and skill."""

from __future__ import annotations

import numpy as np
import pytest
from episodes import random_episode
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_gather import slow_merit

from trajrl import Episode, TrajectoryStore
from trajrl.store import features
from trajrl.store.merit import merits


def paid(rewards: list[float]) -> Episode:
    """Return an episode of these rewards."""
    return Episode(np.zeros((len(rewards) + 1, 2)), np.zeros((len(rewards), 1)), np.array(rewards), True)


@settings(deadline=None, max_examples=30)
@given(
    rewards=st.lists(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=30), min_size=1, max_size=6),
    gamma=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
)
def test_every_merit_is_that_of_the_loop(rewards, gamma):
    episodes = [paid(own) for own in rewards]
    found = merits(TrajectoryStore.of(episodes), gamma)
    assert found == pytest.approx([slow_merit(episode, gamma) for episode in episodes], rel=1e-5, abs=1e-5)


def test_blocks_change_nothing(monkeypatch):
    episodes = [random_episode(4, index) for index in range(9)]
    whole = merits(TrajectoryStore.of(episodes))
    monkeypatch.setattr(features.step_rows, "__defaults__", (3,))
    np.testing.assert_array_equal(merits(TrajectoryStore.of(episodes)), whole)


def test_what_is_appended_and_relabelled_is_judged_too():
    store = TrajectoryStore.of([paid([1.0, 1.0])])
    assert merits(store, 1.0).tolist() == [1.5]
    store.append(paid([2.0]))
    assert merits(store, 1.0).tolist() == [1.5, 2.0]
    store.relabel(np.full(3, 4.0, np.float32), np.zeros(3, bool))
    assert merits(store, 1.0).tolist() == [6.0, 4.0]


def test_a_fall_costs_and_length_alone_does_not_pay():
    good, fallen, long = [1.0] * 300, [1.0] * 60, [0.5] * 600
    found = merits(TrajectoryStore.of([paid(good), paid(fallen), paid(long)]))
    assert found[0] > max(found[1:])  # the returns are 300, 60 and 300, the mean rewards 1, 1 and 0.5


def test_where_goals_are_relabelled_no_episode_is_better():
    from trajrl.store.goals import GoalLaw

    store = TrajectoryStore.of([paid([1.0] * 5), paid([9.0] * 20)])
    store.set_goals(GoalLaw())
    assert merits(store).tolist() == [0, 0]
