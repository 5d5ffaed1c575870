"""On-policy: what is near the newest online episodes, who these are, and when that is learned anew."""

import numpy as np
import pytest
from populations import episode, population

from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.samplers.base.logistic import fit_logit
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore


def acting(mean: float, seed: int, length: int = 20) -> Episode:
    """Return an episode of a policy a = mean + o + noise."""
    rng = stream(seed, "test")
    obs = rng.normal(size=(length + 1, 2))
    actions = np.clip(0.2 * obs[:-1, :1] + mean + 0.05 * rng.normal(size=(length, 1)), -1, 1)
    return Episode(obs, actions, np.ones(length), False)


def history() -> TrajectoryStore:
    """Return ten offline episodes of a policy at -0.5, two of one at 0.5, then online ones from 0 to 0.5."""
    store = TrajectoryStore()
    for i in range(12):
        store.append(acting(0.5 if i >= 10 else -0.5, i), "offline")
    for i in range(12):
        store.append(acting(0.5 if i >= 6 else 0.0, 50 + i), "online")
    return store


def test_episodes_like_the_newest_are_nearest_whoever_made_them():
    sampler = make_sampler("onpolicy", history(), recent=0.25, floor=0.0)
    near, online, far = sampler.nearness[10:12], sampler.nearness[12:18], sampler.nearness[:10]
    assert near.min() > online.max() > far.max()
    p = sampler.probabilities()
    assert p[10:12].min() > 5 * p[:10].max()
    assert sampler.stats()["online_share"] == pytest.approx(p[12:].sum())


@pytest.mark.parametrize(("recent", "first"), [(0.0, 23), (0.01, 23), (0.25, 21), (1.0, 12)])
def test_the_newest_hold_their_share_of_the_online_steps(recent, first):
    store = history()
    sampler = make_sampler("onpolicy", store, recent=recent)
    assert sampler.newest(store.live).tolist() == list(range(first, 24))


def test_without_an_online_episode_steps_are_alike_and_that_is_noted():
    store = population(online=False)
    sampler = make_sampler("onpolicy", store, floor=0.0)
    np.testing.assert_allclose(sampler.probabilities(), store.table.length / store.num_steps)
    assert "no online episode yet" in sampler.notes[0]


def test_the_first_online_episode_is_learned_from_and_later_ones_when_due():
    store = population(online=False)
    sampler = make_sampler("onpolicy", store, refit_every=10)
    for step, fits in ((1, 1), (2, 1), (10, 1), (11, 2), (12, 2)):
        store.append(episode(5, seed=step), "online")
        sampler.refresh(step)
        assert sampler.stats()["fits"] == fits
        assert len(sampler.nearness) == len(store)


def test_the_logit_is_the_log_of_the_ratio_of_densities():
    """Of two values of x: p_pos = (3/4, 1/4), p_all = (1/4, 3/4), so f = log 3 and -log 3."""
    values = np.array([[1.0, 0.0], [0.0, 1.0]])
    beta = fit_logit(values[[0, 0, 0, 1]], values[[0, 1, 1, 1] * 5], ridge=1e-9)
    np.testing.assert_allclose(values @ beta, [np.log(3), -np.log(3)], atol=1e-6)


def test_ess_keeps_the_share_of_windows():
    store = history()
    p = make_sampler("onpolicy", store, ess=0.6, floor=0.0).probabilities()
    length = store.table.length
    assert 1 / (length.sum() * (p**2 / length).sum()) == pytest.approx(0.6, rel=1e-3)
