"""A sampler for each role: what each draws, when the policy's begins, and what it is called."""

import numpy as np
import pytest
from populations import population, returns_store

from trajrl.core.rng import stream
from trajrl.samplers import SAMPLERS, make_sampler
from trajrl.samplers.base.narrowed import Schedule
from trajrl.samplers.options import choose_sampler, in_order, split_roles, with_length
from trajrl.samplers.roles import role_sampler


def test_each_role_draws_as_its_own_sampler_does():
    store = population()
    both = make_sampler("policy=top values=episode", store, **{"policy.share": 0.4})
    for role, name, options in (("policy", "top", {"share": 0.4}), ("values", "episode", {})):
        alone = make_sampler(name, store, **options)
        drawn = both.for_role(role).sample(stream(0, role), 50)
        assert np.array_equal(drawn.episode, alone.sample(stream(0, role), 50).episode)
    assert role_sampler(alone, "policy") is alone


@pytest.mark.parametrize(
    ("step", "weight"), [(1, 0.0), (5, 0.0), (6, 0.25), (8, 0.75), (9, 1.0), (10, 1.0), (99, 1.0)]
)
def test_the_policys_sampler_takes_over_between_its_shares_of_the_run(step, weight):
    assert Schedule(at=0.5, ramp=0.4, updates=10).weight(step) == pytest.approx(weight)
    assert Schedule(at=0.5, ramp=0.4, updates=10, first=100).weight(step + 100) == pytest.approx(weight)


def test_without_a_ramp_it_takes_over_at_once():
    assert [Schedule(0.5, 0.0, 10).weight(step) for step in (5, 6)] == [0.0, 1.0]
    assert Schedule(0.0, 0.0, 10).weight(1) == 1.0


def test_until_then_the_policy_draws_uniformly_and_then_by_its_law_alone():
    store = returns_store([1.0, 9.0], [3, 5])
    sampler = make_sampler("policy=top values=uniform", store, narrow_at=0.5, updates=4)
    policy = sampler.for_role("policy")
    for step, p in ((2, [3 / 8, 5 / 8]), (3, [0.0, 1.0])):
        sampler.refresh(step)
        np.testing.assert_allclose(policy.probabilities(), p)
        drawn = policy.sample(stream(0, "policy", step), 4000)
        assert (drawn.episode == 1).mean() == pytest.approx(p[1], abs=0.03)
    assert sampler.stats()["policy/narrowed"] == 1.0
    assert sampler.stats()["policy/ess"] == pytest.approx(1.0)


def test_on_the_ramp_an_exact_number_of_rows_is_the_laws():
    store = returns_store([1.0, 9.0], [1, 1000])
    sampler = make_sampler("policy=top values=uniform", store, narrow_ramp=1.0, updates=4, share=1.0)
    policy = sampler.for_role("policy")
    policy.law.sample = lambda rng, n: policy.uniform.sample(rng, n)._replace(weight=np.full(n, 7.0))
    sampler.refresh(1)
    assert (policy.sample(stream(0, "x"), 10).weight == 7).tolist() == [True] * 2 + [False] * 8  # round(2.5)


def test_td_errors_go_to_the_values_sampler():
    store = population()
    sampler = make_sampler("policy=uniform values=priority", store, refresh_every=1)
    before = sampler.for_role("values").probabilities()
    drawn = sampler.for_role("values").sample(stream(0, "x"), 30)
    sampler.feedback(drawn, np.arange(30.0))
    sampler.refresh(1)
    assert sampler.reads_td_errors
    assert not np.array_equal(sampler.for_role("values").probabilities(), before)


def test_roles_are_read_in_any_order_and_said_in_one():
    assert split_roles("values=uniform policy=cluster * priority") == {
        "policy": "cluster * priority", "values": "uniform",
    }  # fmt: skip
    assert in_order("values=uniform  policy=top") == "policy=top values=uniform"
    assert (split_roles("cluster*priority"), in_order("cluster*priority")) == ({}, "cluster*priority")


def test_the_run_says_how_many_updates_it_has():
    name = "policy=top values=uniform"
    assert with_length(SAMPLERS, name, {"narrow_at": 0.5}, 40, 7) == {
        "narrow_at": 0.5, "updates": 40, "first_update": 7,
    }  # fmt: skip
    assert with_length(SAMPLERS, name, {"updates": 9}, 40) == {"updates": 9}
    assert with_length(SAMPLERS, "top", {}, 40) == {}


def test_a_role_may_be_a_product():
    choice = choose_sampler(
        SAMPLERS, "policy=cluster*weighted values=uniform", {"policy.left.clusters": 2, "policy.floor": 0.1}
    )
    assert choice.parts["policy"] == ("cluster*weighted", {"left.clusters": 2, "floor": 0.1})
