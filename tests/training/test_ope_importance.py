"""Importance sampling and its doubly robust correction, against sums written out by hand."""

from math import log

import numpy as np
import pytest
import torch

from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore
from trajrl.store.window import WindowSpec
from trajrl.training.ope import doubly_robust
from trajrl.training.ope.behaviour import fitted_clone
from trajrl.training.ope.importance import Weighted, drawn, ess, estimate, weighted

RATIOS = {0.5: 2.0, -0.5: 0.5}  # pi / beta of the two actions that there are


@pytest.fixture
def store():
    """Return three episodes of one action dimension; rewards tell the steps apart."""
    made = [([0.5, 0.5], [1, 2]), ([0.5, -0.5], [3, 4]), ([-0.5], [5])]
    return TrajectoryStore.of(
        Episode(np.zeros((len(a) + 1, 1)), np.array(a)[:, None], r, terminated=True) for a, r in made
    )


def log_pi(history, actions):
    return torch.where(actions[:, 0, 0] > 0, log(RATIOS[0.5]), log(RATIOS[-0.5]))


def log_beta(history, actions):
    return torch.zeros(len(actions))


def test_weights_are_products_up_to_the_step_and_stay_after_the_end(store):
    found = weighted(store, np.arange(3), log_pi, WindowSpec(history=2), log_beta)
    share = found.weights / found.weights.sum(0)
    np.testing.assert_allclose(share[:, 0], np.array([2, 2, 0.5]) / 4.5)
    np.testing.assert_allclose(share[:, 1], np.array([4, 1, 0.5]) / 5.5)
    assert found.rewards.tolist() == [[1, 2], [3, 4], [5, 0]]


def test_the_value_is_the_sum_of_weighted_rewards_step_by_step(store):
    found = weighted(store, np.arange(3), log_pi, WindowSpec(), log_beta)
    by_hand = (2 * 1 + 2 * 3 + 0.5 * 5) / 4.5 + 0.9 * (4 * 2 + 1 * 4) / 5.5
    assert estimate(found, 0.9, np.ones((1, 3)))[0] == pytest.approx(by_hand)
    without_second = (2 * 1 + 0.5 * 5) / 2.5 + 0.9 * (4 * 2) / 4.5
    assert estimate(found, 0.9, np.array([[1.0, 0, 1]]))[0] == pytest.approx(without_second)


def test_effective_episodes_are_all_under_equal_weights_and_one_under_one():
    assert ess(np.ones((7, 3))) == pytest.approx(7)
    assert ess(np.array([[1.0], [0.0], [0.0]])) == pytest.approx(1)
    assert drawn(7, 0).sum(1).tolist() == [7] * 2000


def test_perfect_values_need_no_correction_and_none_leave_the_weighted_returns(store):
    found = weighted(store, np.arange(3), log_pi, WindowSpec(), log_beta)
    counts, nothing = np.ones((1, 3)), np.zeros_like(found.rewards)
    right = doubly_robust.estimate(np.full(3, 7.0), Weighted(nothing, found.weights), 0.9, counts)
    assert right[0] == pytest.approx(7)
    plain = doubly_robust.estimate(np.zeros(3), found, 0.9, counts)
    assert plain[0] == pytest.approx(estimate(found, 0.9, counts)[0])


def test_the_clone_finds_the_mean_and_the_deviation_of_the_data():
    rng = np.random.default_rng(0)
    obs = rng.uniform(-1, 1, (2001, 1))
    actions = 0.5 * obs[:-1] + rng.normal(0, 0.2, (2000, 1))
    data = TrajectoryStore.of([Episode(obs, actions, np.zeros(2000), False)])
    density = fitted_clone(data, np.array([0]), 0, updates=300)
    from trajrl.agents.base.protocol import History

    place = torch.full((3, 1, 1), 0.4)
    history = History(place, torch.zeros(3, 1, 1), torch.ones(3, 1, dtype=torch.bool))
    middle, beside, far = density(history, torch.tensor([0.2, 0.4, 0.8])[:, None, None]).tolist()
    assert middle - beside == pytest.approx(0.5, abs=0.3)  # one deviation away
    assert middle - far == pytest.approx(4.5, abs=2.5)  # three
