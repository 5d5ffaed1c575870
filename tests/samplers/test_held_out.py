"""No sampler draws, ranks or fits on an episode that was held out, whatever happens in a run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import CASES, episode, population, score

from trajrl.core.rng import stream
from trajrl.samplers import SAMPLERS, make_sampler


def test_every_sampler_has_a_case():
    assert {expression if "*" not in expression else "product" for expression, _ in CASES.values()} == {
        *SAMPLERS
    }


@pytest.mark.parametrize("case", sorted(CASES))
@settings(max_examples=5)
@given(seed=st.integers(0, 99), share=st.sampled_from([0.1, 0.4]))
def test_a_held_out_episode_is_never_drawn(case, seed, share):
    name, options = CASES[case]
    store, asked = population(), []
    held = stream(seed, "test").permutation(np.flatnonzero(store.table.phase == 0))[: round(24 * share)]
    store.evict(held)

    def watched(anchors):
        asked.extend(anchors.episode.tolist())
        return score(anchors)

    sampler = make_sampler(name, store, seed=seed, **options)
    for step in range(1, 9):
        if step == 4:  # as online: an episode arrives
            store.append(episode(5, 3.0, success=True, seed=seed), "online")
        sampler.refresh(step, watched)
        anchors = sampler.sample(stream(seed, "sampler", step), 32)
        asked.extend(anchors.episode.tolist())
        sampler.feedback(anchors, stream(seed, "td", step).random(32))
    assert not set(asked) & set(held.tolist())
    assert (sampler.probabilities()[held] == 0).all()
    assert sampler.probabilities().sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ["cluster", "quality"])
def test_a_clustering_is_fitted_without_held_out_episodes(name):
    options = {"clusters": 3} if name == "cluster" else {"judge": "critic", "states": 3}
    fitted = []
    for wild in (1.0, 1e6):
        store = population()
        store.obs.base[store.table.start[5] + 5 :][: store.table.length[5] + 1] *= wild
        store.evict([5])
        sampler = make_sampler(name, store, seed=3, **options)
        fitted.append(sampler.clustering.centres if name == "cluster" else sampler.states.centres)
    assert np.array_equal(*fitted)
