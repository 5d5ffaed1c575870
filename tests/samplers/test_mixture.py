"""Mixtures: exact counts per batch at any fraction, schedules, empty sides, feedback to the right side."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from populations import episode, fixed_anchors, population

from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.store.store import TrajectoryStore


@given(st.floats(0, 1), st.integers(1, 300))
def test_every_batch_holds_the_exact_number_of_offline_rows(fraction, n):
    store = population()
    anchors = make_sampler("mixture", store, fraction=fraction).sample(stream(0, "sampler"), n)
    offline = store.table.phase[anchors.episode] == 0
    assert offline.sum() == round(n * fraction)
    assert not (np.diff(offline.astype(int)) > 0).any()  # the offline rows come first


def test_the_fraction_follows_its_schedule():
    store = population()
    sampler = make_sampler("mixture", store, fraction=0.75, fraction_end=0.25, over_steps=100)
    for step, count in ((0, 75), (50, 50), (100, 25), (400, 25)):
        sampler.refresh(step)
        drawn = sampler.sample(stream(0, "sampler", step), 100).episode
        assert (store.table.phase[drawn] == 0).sum() == count


def test_an_empty_side_leaves_the_batch_to_the_other():
    store = population(online=False)
    sampler = make_sampler("mixture", store, fraction=0.5)
    assert sampler.fraction == 1
    new = store.append(episode(4), "online")
    assert not (sampler.sample(stream(0, "sampler"), 10).episode == new).any()  # not taken in yet
    sampler.refresh(1)
    assert (sampler.sample(stream(0, "sampler"), 10).episode == new).sum() == 5
    store.evict(np.arange(new))
    sampler.refresh(2)
    assert (sampler.sample(stream(0, "sampler"), 10).episode == new).all()


def test_an_empty_store_gives_one_clear_line():
    with pytest.raises(ValueError, match="no episode to draw from"):
        make_sampler("mixture", TrajectoryStore()).sample(stream(0, "sampler"), 4)


def test_each_side_sees_its_own_episodes_and_errors():
    store = population()
    sampler = make_sampler("mixture", store, offline="priority", online="priority")
    sampler.feedback(fixed_anchors([0, 2, 5]), np.array([1.0, 2.0, 3.0]))
    assert np.flatnonzero(sampler.sides["offline"].evidence.seen).tolist() == [0]
    assert np.flatnonzero(sampler.sides["online"].evidence.seen).tolist() == [2, 5]


def test_options_reach_both_sides_or_the_one_that_is_named():
    sampler = make_sampler(
        "mixture", population(), offline="priority", online="priority",
        **{"alpha": 0.3, "online.metric": "return", "offline.floor": 0.2},
    )  # fmt: skip
    offline, online = (sampler.sides[name].config for name in ("offline", "online"))
    assert (offline.alpha, offline.metric, offline.floor) == (0.3, "td_error_rank", 0.2)
    assert (online.alpha, online.metric, online.floor) == (0.3, "return", 0.05)


def test_an_option_of_one_side_wins_over_one_for_both_in_any_order():
    for options in ({"offline.alpha": 0.2, "alpha": 0.3}, {"alpha": 0.3, "offline.alpha": 0.2}):
        sides = make_sampler("mixture", population(), offline="priority", online="priority", **options).sides
        assert [sides[name].config.alpha for name in ("offline", "online")] == [0.2, 0.3]


def test_a_side_may_be_a_product():
    store = population()
    sampler = make_sampler("mixture", store, offline="cluster*priority", clusters=2, metric="return")
    drawn = sampler.sample(stream(0, "sampler"), 64).episode
    assert (store.table.phase[drawn] == 0).sum() == 32
    assert (sampler.labels[store.table.phase == 0] >= 0).all()
    assert (sampler.labels[store.table.phase == 1] == -1).all()
