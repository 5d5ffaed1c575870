"""Fitted Q evaluation: the values of known policies, on data that covers them and on data that does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from walkers import Walker, discounted_return, walked

from trajrl.envs import make_suite
from trajrl.rollout.policies import NoisyPolicy
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore
from trajrl.store.window import WindowSpec
from trajrl.training.ope import fqe
from trajrl.training.ope.estimate import resampled
from trajrl.training.ope.start_values import Problem, fitted, monte_carlo

GAMMA = 0.95
QUICK = fqe.Config(members=3, width=48, first_updates=200, updates=500)


def part(episode: Episode, first: int, stop: int) -> Episode:
    """Return steps [first, stop) of an episode as a recording of their own."""
    ends = episode.terminated and stop == len(episode)
    return Episode(
        episode.obs[first : stop + 1], episode.actions[first:stop], episode.rewards[first:stop], ends
    )


def without_the_way(store: TrajectoryStore) -> TrajectoryStore:
    """Return the first three steps of every episode, and what it did in the far room: the door is missing."""
    heads = [part(episode, 0, 3) for episode in store.episodes()]
    behind = [(episode, np.flatnonzero(episode.obs[:-1, 0] > 0.2)) for episode in store.episodes()]
    return TrajectoryStore.of([*heads, *(part(e, rows[0], len(e)) for e, rows in behind if len(rows))])


@pytest.fixture(scope="module")
def covering():
    """Return walks that are near the policy's, and the random walk's."""
    noisy = walked(NoisyPolicy(Walker(), 0.6), 40)
    strolls = [episode for _, episode in zip(range(40), make_suite("toy:rooms").episodes())]
    return TrajectoryStore.of([*noisy.episodes(), *strolls])


def valued(store, actor, config=QUICK, **changes):
    found = fitted(Problem(store, np.arange(len(store)), GAMMA, **changes), [actor], config)
    return resampled("fqe", found.policies, 0), found


@pytest.mark.parametrize("shape", [{}, {"history": 2, "chunk": 3}])
def test_a_known_policy_is_worth_its_discounted_return_within_15_percent(covering, shape):
    truth = discounted_return(walked(Walker(**shape), 60), GAMMA)
    found, _ = valued(covering, Walker(**shape))
    assert found.value[0] == pytest.approx(truth, rel=0.15)
    assert truth > 2 * discounted_return(covering, GAMMA)  # the data's own policy is worth less than half


class Still:
    """Never moves."""

    device, action_dim, spec = torch.device("cpu"), 1, WindowSpec()

    def act(self, history, rng, explore):
        return torch.zeros(len(history.obs), 1, 1)


def test_a_cautious_value_is_less_by_the_price_of_leaving_the_data():
    """Two rewards of 1 and a data policy that goes left, right or nowhere: nowhere is at distance 2/3."""
    sides = np.float32([[[x], [y]] for x in (-1, 0, 1) for y in (-1, 0, 1)] * 60)
    obs = np.float32([[0], [1], [2]])
    store = TrajectoryStore.of([Episode(obs, actions, np.ones(2, np.float32), True) for actions in sides])
    problem, config = Problem(store, np.arange(len(store)), 0.5), replace(QUICK, members=2)
    plain, cautious = (fitted(problem, [Still()], replace(config, caution=caution)) for caution in (0.0, 4.0))
    rms = np.sqrt((1.5**2 + 1) / 2)  # of the returns 1.5 and 1
    assert plain.policies.mean() == pytest.approx(1.5, abs=0.1)
    assert cautious.policies.mean() == pytest.approx(1.5 - 0.5 * 4.0 * 0.5 * rms * 2 / 3, abs=0.1)
    assert cautious.data.mean() == pytest.approx(1.5, abs=0.1)


def test_intervals_are_wider_where_the_data_does_not_cover_the_policy(covering):
    starts = slice(0, len(covering))  # of the whole episodes, and of their first steps

    def width(store):
        found = resampled("fqe", valued(store, Walker())[1].policies[:, :, starts], 0)
        return float((found.high - found.low)[0])

    assert width(without_the_way(covering)) > 2 * width(covering)


def test_the_data_s_own_policy_is_worth_the_returns_that_followed(covering):
    found = valued(covering, Walker())[1]
    known = monte_carlo(Problem(covering, np.arange(len(covering)), GAMMA)).mean()
    assert known == pytest.approx(discounted_return(covering, GAMMA))
    assert found.data.mean() == pytest.approx(known, rel=0.25)


def test_policies_fitted_together_have_the_values_they_have_apart(covering):
    config = fqe.Config(members=2, width=16, first_updates=20, updates=30)
    problem = Problem(covering, np.arange(len(covering)), GAMMA, most=500)
    pair = fitted(problem, [Walker(), Walker(pace=0.5)], config).policies
    for place, pace in enumerate((1.0, 0.5)):
        alone = fitted(problem, [Walker(pace=pace)], config).policies
        np.testing.assert_allclose(pair[place], alone[0], rtol=1e-4, atol=1e-6)


def test_a_member_is_compared_at_episodes_that_its_bootstrap_left_out():
    from trajrl.training.ope.start_values import drawn_by

    episode = np.array([4, 4, 7, 7, 7, 9])  # of the steps; episode 8 has none
    weight = np.array([[2, 2, 0, 0, 0, 1], [0, 0, 3, 3, 3, 0]], np.float32)
    seen = drawn_by(weight, episode, np.array([7, 4, 8, 9]))
    assert seen.tolist() == [[False, True, False, True], [True, False, False, False]]


def test_some_members_did_not_learn_from_an_episode(covering):
    config = fqe.Config(members=5, width=16, first_updates=5, updates=5)
    seen = valued(covering, Walker(), config)[1].seen
    assert seen.shape == (5, len(covering))
    assert 0.5 < seen.mean() < 0.75  # 1 - 1/e = 0.63
