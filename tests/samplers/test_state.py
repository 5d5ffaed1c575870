"""A sampler restored from its saved state draws the anchors that would have come."""

import json

import numpy as np
import pytest
from populations import CASES, episode, population, score

from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.training.run_dir.checkpoint_parts import read_part, write_part


def learning_score(step):
    """Return what an agent says at a step: it changes as the agent learns."""
    return lambda anchors: score(anchors) + np.sin(step * (1 + anchors.episode + anchors.step))[:, None]


def live_through(sampler, store, steps):
    """Refresh, draw and feed back as training does; returns what was drawn."""
    drawn = []
    for step in steps:
        sampler.refresh(step, learning_score(step))
        anchors = sampler.sample(stream(5, "sampler", step), 16)
        sampler.feedback(anchors, stream(5, "td", step).random(16))
        drawn.append(anchors)
    return drawn


def grown_store(late: bool):
    """Return a store after the appends and evictions of a run; `late` adds what came after a refresh."""
    store = population()
    store.append(episode(5, 3.0, success=True, seed=77), "online")
    store.evict([0, 7])
    if late:
        store.append(episode(4, 1.0, success=True, seed=78), "online")
        store.evict([2])
    return store


@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.parametrize("late", [False, True])
def test_the_next_anchors_after_a_round_trip_are_those_that_would_have_come(case, late, tmp_path):
    name, options = CASES[case]
    store = population()
    sampler = make_sampler(name, store, seed=3, **options)
    live_through(sampler, store, range(1, 4))
    store.append(episode(5, 3.0, success=True, seed=77), "online")
    store.evict([0, 7])
    live_through(sampler, store, range(4, 8))
    if late:  # in the store when the checkpoint is written, not yet seen by the sampler
        store.append(episode(4, 1.0, success=True, seed=78), "online")
        store.evict([2])
    write_part(tmp_path, "sampler", sampler.state_dict())

    other_store = grown_store(late)
    other = make_sampler(name, other_store, seed=3, **options)
    other.load_state_dict(read_part(tmp_path, "sampler"))
    first = sampler.sample(stream(9, "x"), 16), other.sample(stream(9, "x"), 16)
    pairs = [
        first,
        *zip(live_through(sampler, store, range(8, 14)), live_through(other, other_store, range(8, 14))),
    ]
    for wanted, got in pairs:
        for ours, theirs in zip(wanted, got):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(sampler.probabilities(), other.probabilities())
    assert json.dumps(sampler.stats(), sort_keys=True) == json.dumps(other.stats(), sort_keys=True)


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_saved_state_does_not_move_with_the_sampler(case):
    name, options = CASES[case]
    store = population()
    sampler = make_sampler(name, store, seed=3, **options)
    live_through(sampler, store, range(1, 4))
    state = sampler.state_dict()
    before = _frozen(state)
    live_through(sampler, store, range(4, 9))
    assert _frozen(state) == before


@pytest.mark.parametrize("case", sorted(CASES))
def test_drawing_is_a_function_of_the_stream(case):
    name, options = CASES[case]
    drawn = [
        live_through(make_sampler(name, store, seed=3, **options), store, range(1, 5)) for store in _two()
    ]
    for ours, theirs in zip(*drawn):
        np.testing.assert_array_equal(ours.episode, theirs.episode)
        np.testing.assert_array_equal(ours.step, theirs.step)


@pytest.mark.parametrize("case", sorted(CASES))
def test_anchors_are_legal_and_weights_have_mean_one(case):
    name, options = CASES[case]
    store = population()
    sampler = make_sampler(name, store, seed=3, **options)
    live_through(sampler, store, range(1, 5))
    drawn = [sampler.sample(stream(2, "sampler", i), 250) for i in range(40)]
    for anchors in drawn:
        assert anchors.episode.dtype == anchors.step.dtype == np.int64
        assert anchors.weight.dtype == np.float32
        assert len(anchors.episode) == len(anchors.step) == len(anchors.weight) == 250
        assert (anchors.step >= 0).all()
        assert (anchors.step < store.table.length[anchors.episode]).all()
    assert np.mean([anchors.weight.mean() for anchors in drawn]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("case", sorted(CASES))
def test_growth_and_eviction_are_followed_at_the_next_refresh(case):
    name, options = CASES[case]
    store = population()
    sampler = make_sampler(name, store, seed=3, **options)
    sampler.refresh(1, score)
    new = store.append(episode(6, 2.0, success=True, seed=90), "online")
    store.evict([3, 4, 5])
    sampler.refresh(2, score)
    p = sampler.probabilities()
    assert len(p) == len(store)
    assert (p[[3, 4, 5]] == 0).all()
    assert p.sum() == pytest.approx(1)
    if name != "top":
        assert p[new] > 0
    drawn = np.concatenate([sampler.sample(stream(4, "sampler", i), 64).episode for i in range(10)])
    assert not np.isin(drawn, [3, 4, 5]).any()


def _two():
    return population(), population()


def _frozen(state):
    """Return a state as text, arrays by their bytes."""
    return json.dumps(state, default=lambda array: [array.dtype.str, array.tobytes().hex()], sort_keys=True)
