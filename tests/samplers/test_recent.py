"""recent: an episode counts by how many steps came after it."""

from __future__ import annotations

import numpy as np
import pytest

from trajrl import make_sampler
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore


def store_of(*lengths: int, phase: str = "online") -> TrajectoryStore:
    store = TrajectoryStore()
    for n in lengths:
        store.append(Episode(np.zeros((n + 1, 1)), np.zeros((n, 1)), np.zeros(n), False), phase)
    return store


def test_a_step_counts_half_behind_every_half_life():
    sampler = make_sampler("recent", store_of(10, 10, 20), half_life=0.25, floor=0.0)
    # Of 40 steps a half-life is 10: the middles lie 35, 25 and 10 steps back.
    mass = np.array([10 * 0.5**3.5, 10 * 0.5**2.5, 20 * 0.5])
    assert sampler.probabilities() == pytest.approx(mass / mass.sum())


def test_the_floor_is_uniform_over_episodes_and_a_long_half_life_over_steps():
    p = make_sampler("recent", store_of(5, 5, 5), half_life=1e-3, floor=0.3).probabilities()
    assert p == pytest.approx([0.1, 0.1, 0.8])
    p = make_sampler("recent", store_of(10, 30), half_life=1e9, floor=0.0).probabilities()
    assert p == pytest.approx([0.25, 0.75])


def test_a_new_episode_is_the_most_likely_and_what_is_hidden_is_never_drawn():
    store = store_of(10, 20, 10, phase="offline")
    sampler = make_sampler("recent", store)
    store.append(Episode(np.zeros((11, 1)), np.zeros((10, 1)), np.zeros(10), False), "online")
    store.append(Episode(np.zeros((11, 1)), np.zeros((10, 1)), np.zeros(10), False), "online")
    store.evict([2])
    sampler.refresh(1)
    p = sampler.probabilities()
    assert p.argmax() == 4
    assert p[2] == 0.0
    assert p[3] > p[0]
    # Of 50 steps: both offline episodes lie 20 + 30 / 2 back, whatever their order.
    mass = np.array([10 * 0.5**3.5, 20 * 0.5**3.5, 0.0, 10 * 0.5**1.5, 10 * 0.5**0.5])
    assert p == pytest.approx(0.9 * mass / mass.sum() + 0.1 / 4 * (mass > 0))


def test_a_half_life_of_nothing_is_refused():
    with pytest.raises(ValueError, match="'half_life' is above 0; got 0"):
        make_sampler("recent", store_of(1), half_life=0)
