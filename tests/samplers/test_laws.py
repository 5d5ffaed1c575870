"""Every sampler draws as its formula says: chi-square of drawn (episode, step) pairs against p(e, t).

The formulas are written out in `formulas`; a sampler's own `probabilities()` is only compared with them.
"""

import numpy as np
import pytest
from formulas import LAWS, at_any, at_last, balanced, episode, facts
from populations import CASES, population, score
from scipy.stats import chi2

from trajrl.core.rng import stream
from trajrl.samplers import SAMPLERS, make_sampler
from trajrl.store.store import TrajectoryStore

LEARNED = ("cluster*density", "density", "onpolicy", "progress")  # of float32 features, or by a bisection
CURSORS = [name for name in CASES if name.endswith("cursor")]


def cell_law(store: TrajectoryStore, p: np.ndarray) -> np.ndarray:
    """Return the probability (S,) of every action row, p (E,) being over episodes."""
    return np.repeat(p / store.table.length, store.table.length)


def chi_square_p(counts: np.ndarray, law: np.ndarray) -> float:
    """Return the p-value of counts under a law; a draw where the law is 0 is an outright failure."""
    assert not counts[law == 0].any()
    expected = law[law > 0] * counts.sum()
    statistic = (np.square(counts[law > 0] - expected) / expected).sum()
    return float(chi2.sf(statistic, len(expected) - 1))


def draw_counts(sampler, store: TrajectoryStore, batches: int, size: int = 250) -> np.ndarray:
    counts = np.zeros(len(store.actions))
    for index in range(batches):
        anchors = sampler.sample(stream(1, "sampler", index), size)
        np.add.at(counts, store.table.start[anchors.episode] + anchors.step, 1)
    return counts


def test_every_sampler_has_a_case():
    named = {expression for expression, _ in CASES.values()}
    assert set(SAMPLERS) - named == {"product"}
    assert any("*" in expression for expression in named)
    assert set(LAWS) == set(CASES) - set(CURSORS) - {"quality-critic"}


@pytest.mark.parametrize("case", sorted(set(CASES) - set(CURSORS) - {"quality-critic"}))
def test_drawn_frequencies_follow_the_formula(case):
    name, options = CASES[case]
    store = population()
    sampler = make_sampler(name, store, seed=3, **options)
    drawn, td_error = sampler.sample(stream(0, "first"), 250), stream(0, "td").random(250)
    sampler.feedback(drawn, td_error)
    sampler.refresh(2, score)
    store.evict([1, 8])
    sampler.refresh(3, score)

    live = np.array([e for e in range(len(store)) if e not in (1, 8)])
    td = np.array([td_error[drawn.episode == e].mean() if e in drawn.episode else np.nan for e in range(24)])
    known = facts(store, live, td, options.get("score_episodes", 0), getattr(sampler, "labels", td[:0]))
    found = LAWS[case](known)  # (n,) of the live episodes, or the steps of each
    spread = at_last if options.get("start") == "last" else at_any
    steps = found if isinstance(found, list) else spread(known, found)
    rows = [np.zeros(t) for t in store.table.length]
    for e, part in zip(live, steps, strict=True):
        rows[e] = part
    assert chi_square_p(draw_counts(sampler, store, 80), np.concatenate(rows)) > 1e-3
    p = [part.sum() for part in steps]
    np.testing.assert_allclose(sampler.probabilities()[live], p, atol=1e-5 if name in LEARNED else 1e-9)


@pytest.mark.parametrize("case", CURSORS)
def test_a_backward_cursor_visits_every_step_of_what_it_draws(case):
    name, options = CASES[case]
    store = population()
    sampler = make_sampler(name, store, seed=3, **options)
    whole = facts(store, np.arange(24), np.zeros(24), 0, getattr(sampler, "labels", np.zeros(0)))
    p = balanced(whole, episode(whole)) if "*" in name else episode(whole)  # no TD error yet: all ranks tie
    mass = p * store.table.length  # a drawn episode gives one anchor per step
    law = cell_law(store, mass / mass.sum())
    # Rows of one episode come together, so the counts of episodes are compared, thinned by their length.
    counts = draw_counts(sampler, store, 400)
    visits = np.add.reduceat(counts, store.table.start)
    expected = np.add.reduceat(law, store.table.start) * counts.sum()
    assert np.abs(visits / expected - 1).max() < 0.1
    inside = counts / np.repeat(visits / store.table.length, store.table.length)
    assert np.abs(inside - 1).max() < 0.1


def test_what_a_critic_judges_is_drawn_by_the_weight_of_its_bucket():
    store = population()
    options = {"judge": "critic", "states": 1, "over_steps": 4, "refresh_every": 2, "score_rows": 60}
    sampler = make_sampler("quality", store, **options)
    sampler.refresh(2, score)
    q = np.full(len(store.actions), np.nan)
    asked = ~np.isnan(sampler.q)
    assert asked.sum() == 60
    q[asked] = sampler.q[asked]
    low, high = 0.625, 1.0  # half way from 1 to 0.25, and 1 throughout
    weight = np.where(np.isnan(q), (low + high) / 2, np.where(q > np.nanmean(q), high, low))
    assert chi_square_p(draw_counts(sampler, store, 80), weight / weight.sum()) > 1e-3
    by_episode = np.add.reduceat(weight, store.table.start) / weight.sum()
    np.testing.assert_allclose(sampler.probabilities(), by_episode)


def test_uniform_is_over_steps_and_episode_over_episodes():
    store = population()
    length = store.table.length
    np.testing.assert_allclose(make_sampler("uniform", store).probabilities(), length / length.sum())
    np.testing.assert_allclose(make_sampler("episode", store).probabilities(), 1 / len(store))


def test_the_chi_square_would_notice_a_wrong_law():
    store = population()
    counts = draw_counts(make_sampler("uniform", store), store, 80)
    assert chi_square_p(counts, cell_law(store, np.full(24, 1 / 24))) < 1e-9
