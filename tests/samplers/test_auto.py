"""auto decides by returns and lengths alone, as its formula says, and its reason names what it saw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trajrl.agents import AGENTS
from trajrl.core.registry import find
from trajrl.samplers import make_sampler
from trajrl.samplers.auto import decide, facts_of
from trajrl.samplers.base.returns import first_observations
from trajrl.samplers.base.start_values import start_values
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore

RETURNS = st.lists(st.floats(-5, 5).map(lambda g: round(g, 3)), min_size=12, max_size=30)

MIXTURE = [*(1.0 + 0.01 * i for i in range(45)), 10.0, 10.1, 10.2, 10.3, 10.4]


def returns_store(returns: list[float], lengths: list[int]) -> TrajectoryStore:
    """Return a store of given returns and lengths, whose first observations say nothing of them."""
    rng, store = np.random.default_rng(0), TrajectoryStore()
    for total, steps in zip(returns, lengths):
        obs, actions = rng.normal(size=(steps + 1, 2)), rng.uniform(-1, 1, (steps, 1))
        store.append(Episode(obs, actions, np.full(steps, total / steps), False), "offline")
    return store


SPREAD = [float(np.exp(i / 8)) for i in range(45)]  # of one group, few of them much better than most


def mixture() -> TrajectoryStore:
    return returns_store(MIXTURE, [4] * len(MIXTURE))


def spread() -> TrajectoryStore:
    return returns_store(SPREAD, [4] * len(SPREAD))


def test_where_there_are_two_groups_the_policy_is_drawn_from_the_better_and_the_values_are_not():
    found = decide(mixture())
    assert found.sampler == "policy=quality values=uniform"
    assert found.options == {"narrow_at": 0.5, "policy.low_start": 0.0, "policy.low_end": 0.0}
    assert "10% of the steps are in the better one" in found.reason
    sampler = make_sampler(found.sampler, mixture(), **found.options, updates=10)
    sampler.refresh(10)
    assert sampler.for_role("policy").probabilities()[-5:].sum() == pytest.approx(1)
    assert sampler.for_role("values").probabilities()[-5:].sum() == pytest.approx(0.1)


def test_where_few_of_one_group_are_much_better_the_policy_is_drawn_by_return():
    found = decide(spread())
    assert found.facts.gap < 4
    assert (found.sampler, found.options) == ("policy=weighted values=uniform", {"narrow_at": 0.5})
    assert "of the steps lie in its better half" in found.reason


@pytest.mark.parametrize(("store", "law"), [(mixture, "quality"), (spread, "weighted")])
def test_an_agent_that_clones_is_drawn_for_alike_and_one_without_roles_as_ever(store, law):
    found = decide(store(), find(AGENTS, "bc_diffusion", "agent").roles)
    assert found.sampler == law
    p = make_sampler(law, store(), **found.options).probabilities()
    assert p[-5:].sum() > 0.5
    assert decide(store(), ()).sampler == "uniform"


def test_early_falls_do_not_hide_two_groups():
    rng = np.random.default_rng(1)
    falls, medium, expert = ([1.0] * int(n) for n in (20, 300, 300))
    rows = [falls] * 12
    rows += [list(np.array(medium) + rng.normal(0, 0.1)) for _ in range(30)]
    rows += [list(np.array(expert) * 2 + rng.normal(0, 0.1)) for _ in range(10)]
    found = decide(rewarded(rows))
    assert "policy=quality" in found.sampler
    assert found.facts.upper == pytest.approx(3000 / 12240)


@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        ([0.0] * 20 + [1.0] * 20, "returns take two values"),
        ([3.0] * 20, "all returns are the same"),
        ([1.0, 2.0, 3.0], "3 episodes are too few"),
        ([1.0 + (i == 0) for i in range(400)] + [0.999], "0.2% of the steps lie in the better half"),
        ([float(10 - 0.01 * i) for i in range(40)] + [1.0, 2.0, 3.0], "would add"),
    ],
)
def test_else_every_step_alike_with_the_reason(returns, reason):
    found = decide(returns_store(returns, [3] * len(returns)))
    assert (found.sampler, found.options) == ("uniform", {})
    assert reason in found.reason


def rewarded(rewards: list[list[float]]) -> TrajectoryStore:
    """Return a store of episodes with these rewards, whose first observations say nothing of them."""
    rng, store = np.random.default_rng(0), TrajectoryStore()
    for row in rewards:
        obs, actions = rng.normal(size=(len(row) + 1, 2)), rng.uniform(-1, 1, (len(row), 1))
        store.append(Episode(obs, actions, np.array(row), False), "offline")
    return store


@pytest.mark.parametrize("at_goal", [0.0, -1.0, 10.0])
def test_a_sparse_task_of_minus_one_a_step_has_two_values_whatever_the_lengths(at_goal):
    lengths = [60 - i for i in range(40)] + [8, 7, 6, 5, 4]  # a few much better: by returns it would narrow
    store = rewarded([[-1.0] * (t - 1) + [at_goal] for t in lengths])
    assert len(np.unique(store.table.returns)) == len(lengths)
    found = decide(store)
    assert (found.sampler, found.options) == ("uniform", {})
    assert "rewards take" in found.reason or "all rewards are the same" in found.reason


def test_goals_that_are_counted_step_by_step_have_two_values_too():
    store = rewarded([[0.0] * (20 - k) + [1.0] * k for k in [*range(10), *range(10), 18, 19]])
    assert "rewards take two values" in decide(store).reason


def test_rewards_of_three_values_are_judged_by_their_returns():
    rows = [[0.0, 0.5, 1.0] * 2 + [0.0] * (i % 7) for i in range(40)] + [
        [1.0] * 9,
        [1.0] * 10,
        [0.5] + [1.0] * 11,
    ]
    found = decide(rewarded(rows))
    assert found.facts.rewards == 3
    assert "rewards take" not in found.reason


def test_facts_are_the_formula_written_out():
    returns, lengths = [0.0, 1.0, 2.0, 4.0, 8.0, 8.0, 3.0, 5.0, 7.0, 6.0, 1.5], list(range(2, 13))
    store = returns_store(returns, lengths)
    found = facts_of(store)
    left = np.array(returns) - start_values(first_observations(store, store.live), store.table.returns)
    x = [(value - min(left)) / (max(left) - min(left)) for value in left]
    p = [t / sum(lengths) for t in lengths]
    tilted = [t * np.exp(value / 0.1) for t, value in zip(lengths, x)]
    q = [value / sum(tilted) for value in tilted]
    assert found.gain == pytest.approx(sum((b - a) * v for a, b, v in zip(p, q, x)), rel=1e-5)
    assert found.good == pytest.approx(sum(a for a, v in zip(p, x) if v > 0.5))


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.floats(-5, 5).map(lambda g: round(g, 3)), min_size=12, max_size=30),
    st.sampled_from([0.5, 4.0]),
)
def test_the_unit_of_rewards_decides_nothing(returns, unit):
    lengths = [3 + i % 4 for i in range(len(returns))]
    one, other = (decide(returns_store([g * u for g in returns], lengths)) for u in (1.0, unit))
    if abs(one.facts.gain - 0.3) > 0.01 and abs(one.facts.good - 0.02) > 0.01:
        assert (one.sampler, one.options) == (other.sampler, other.options)


def test_episodes_that_are_held_out_are_not_looked_at():
    store = mixture()
    store.evict(np.arange(45, 50))
    assert facts_of(store).episodes == 45
    assert decide(store).facts.good > decide(mixture()).facts.good
