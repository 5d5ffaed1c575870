"""Data no sampler likes: each gives one clear line, or a fallback that is noted and logged."""

import logging

import numpy as np
import pytest
from populations import CASES, episode, population, score

from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.samplers.base.distributions import Balanced, Categorical, normalised
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore


@pytest.mark.parametrize("case", sorted(CASES))
def test_an_empty_store_is_refused_at_the_draw_and_not_before(case):
    name, options = CASES[case]
    sampler = make_sampler(name, TrajectoryStore(), **options)
    assert len(sampler.probabilities()) == 0
    assert all(np.isfinite(value) for value in sampler.stats().values())
    with pytest.raises(ValueError, match=r"import data or collect some first|no data yet"):
        sampler.sample(stream(0, "sampler"), 4)


@pytest.mark.parametrize("case", sorted(CASES))
def test_an_empty_store_that_grows_is_drawn_from(case):
    name, options = CASES[case]
    store = TrajectoryStore()
    sampler = make_sampler(name, store, **options)
    for step in range(1, 6):
        store.append(episode(step, 1.0, success=True, seed=step))
        sampler.refresh(step, score)
        anchors = sampler.sample(stream(0, "sampler", step), 8)
        sampler.feedback(anchors, np.ones(8))
        assert (anchors.step < store.table.length[anchors.episode]).all()


@pytest.mark.parametrize("case", sorted(CASES))
def test_one_episode_of_one_step_is_enough(case):
    name, options = CASES[case]
    store = TrajectoryStore.of([episode(1, success=True)])
    sampler = make_sampler(name, store, **options)
    sampler.refresh(1, score)
    anchors = sampler.sample(stream(0, "sampler"), 5)
    assert set(zip(anchors.episode.tolist(), anchors.step.tolist())) == {(0, 0)}
    np.testing.assert_allclose(anchors.weight, 1, rtol=1e-6)


@pytest.mark.parametrize("case", sorted(CASES))
def test_identical_episodes_are_drawn_alike(case):
    name, options = CASES[case]
    store = TrajectoryStore.of([episode(4, success=True)] * 12)
    sampler = make_sampler(name, store, **options)
    p = sampler.probabilities()
    if options.get("max_share", 1.0) == 1.0:
        np.testing.assert_allclose(p, 1 / 12)
    sampler.sample(stream(0, "sampler"), 32)


@pytest.mark.parametrize("name", ["cluster", "cluster*priority", "priority", "top", "weighted"])
def test_returns_that_are_not_numbers_are_refused_by_episode(name):
    store = population()
    store.append(Episode(np.zeros((3, 3)), np.zeros((2, 2)), np.array([1.0, np.nan]), False, success=True))
    options = {"metric": "return"} if "priority" in name else {}
    with pytest.raises(ValueError, match=r"a return that is not a number .first: 24."):
        make_sampler(name, store, **options)


@pytest.mark.parametrize("metric", ["avg_reward", "min_reward", "max_reward", "uhm_reward", "uqm_reward"])
def test_rewards_that_are_not_numbers_are_refused_by_episode(metric):
    store = population()
    store.append(Episode(np.zeros((5, 3)), np.zeros((4, 2)), np.array([np.nan, 1, 2, 3.0]), False))
    with pytest.raises(ValueError, match=r"a reward that is not a number .first: 24."):
        make_sampler("priority", store, metric=metric)


@pytest.mark.parametrize(
    ("name", "options"), [("cluster", {}), ("quality", {"judge": "critic"}), ("weighted", {})]
)
def test_observations_that_are_not_numbers_are_refused(name, options):
    store = population()
    obs = np.zeros((3, 3))
    obs[0, 1] = np.nan
    store.append(Episode(obs, np.zeros((2, 2)), np.ones(2), False))
    with pytest.raises(ValueError, match=r"not numbers|not a number"):
        make_sampler(name, store, **options)


def test_rewards_that_are_not_numbers_are_refused_where_episodes_are_judged_by_them():
    store = population()
    store.append(Episode(np.zeros((3, 3)), np.zeros((2, 2)), np.array([1.0, np.nan]), False))
    with pytest.raises(ValueError, match="a merit that is not a number"):
        make_sampler("quality", store)


def test_a_score_of_the_wrong_size_is_refused():
    with pytest.raises(ValueError, match="one row of values per anchor"):
        make_sampler("quality", population(), judge="critic").refresh(1, lambda anchors: np.zeros(3))


def test_a_score_that_is_not_a_number_is_refused():
    critic = make_sampler("quality", population(), judge="critic")
    with pytest.raises(ValueError, match="a Q that is not a number"):
        critic.refresh(1, lambda anchors: np.full(len(anchors.step), np.nan))


def test_a_fallback_is_logged_once(caplog):
    store = population(4)
    with caplog.at_level(logging.WARNING, logger="trajrl"):
        sampler = make_sampler("cluster", store, clusters=9, refit_every=1)
        for step in range(1, 4):
            sampler.refresh(step)
    assert [record.name for record in caplog.records] == ["trajrl"]
    assert sampler.stats()["notes"] == 1


def test_masses_that_are_none_are_refused():
    with pytest.raises(ValueError, match="episode 7 has a sampling mass of -1"):
        normalised(np.array([1.0, -1.0]), np.array([3, 7]))
    with pytest.raises(ValueError, match="none of 2 episodes"):
        normalised(np.zeros(2), np.array([3, 7]))


@pytest.mark.parametrize("law", [Categorical, lambda ids, p: Balanced(ids, np.array([0, 0, 1, 1]), p)])
def test_what_has_no_mass_is_never_drawn(law):
    drawn = law(np.array([1, 2, 3, 4]), np.array([0.0, 0.5, 0.5, 0.0])).draw(stream(0, "test"), 1000)
    assert set(drawn.tolist()) == {2, 3}


def test_the_edge_of_the_random_numbers_stays_inside():
    class Edge:
        def random(self, n):
            return np.full(n, np.nextafter(1.0, 0))

        def permutation(self, n):
            return np.arange(n)

    p = np.array([0.1] * 10)
    assert Categorical(np.arange(10), p).draw(Edge(), 2).tolist() == [9, 9]
    assert Balanced(np.arange(10), np.arange(10) // 5, p).draw(Edge(), 4).tolist() == [4, 4, 9, 9]
