"""A share of whole episodes is chosen evenly over source, cluster and return, by seed and content alone."""

import numpy as np
import pytest
from episodes import counting
from hypothesis import given, settings
from hypothesis import strategies as st

from trajrl.store.episode import Episode
from trajrl.store.split import shared_out, stratified_share
from trajrl.store.store import TrajectoryStore


def valued(returns, sources=("",), fingerprint="f"):
    """Return a store of two-step episodes of these returns, from these sources in turn."""
    store = TrajectoryStore.of(
        Episode(
            np.full((3, 1), i), np.zeros((2, 1)), np.full(2, g / 2), False, source=sources[i % len(sources)]
        )
        for i, g in enumerate(returns)
    )
    store.attributes["fingerprint"] = fingerprint
    return store


@pytest.mark.parametrize(
    ("episodes", "share", "count"), [(100, 0.1, 10), (12, 0.25, 3), (7, 0.01, 1), (3, 0.99, 2), (5, 0.0, 0)]
)
def test_a_share_of_the_episodes_is_chosen_and_never_all(episodes, share, count):
    ids = stratified_share(valued(range(episodes)), share, 0)
    assert ids.dtype == np.int64
    assert len(np.unique(ids)) == len(ids) == count
    assert (np.diff(ids) > 0).all()


@pytest.mark.parametrize("seed", range(20))
def test_every_tenth_of_the_returns_gives_its_share(seed):
    returns = np.random.default_rng(1).permutation(200).astype(float)
    chosen = returns[stratified_share(valued(returns), 0.1, seed)]
    assert np.bincount((chosen // 20).astype(int), minlength=10).tolist() == [2] * 10


@pytest.mark.parametrize("seed", range(10))
def test_every_source_and_cluster_gives_its_share_to_within_one_episode(seed):
    store = valued(np.arange(120) % 17, sources=("a", "a", "b"))
    store.table.set("cluster", np.arange(120) % 4)
    ids = stratified_share(store, 0.2, seed)
    for source, size in (("a", 80), ("b", 40)):
        assert abs((store.table.source[ids] == source).sum() - 0.2 * size) <= 1
    for cluster in range(4):
        assert abs((store.table.cluster[ids] == cluster).sum() - 6) <= 2  # once for each of two sources


def test_seed_and_content_decide_and_every_episode_may_be_chosen():
    def of(seed, mark="f"):
        return stratified_share(valued([1.0] * 20, fingerprint=mark), 0.1, seed).tolist()

    assert of(3) == of(3)
    assert of(3) != of(4) or of(3) != of(5)
    assert any(of(seed) != of(seed, "g") for seed in range(5))
    assert set().union(*(of(seed) for seed in range(100))) == set(range(20))


def test_episodes_that_are_held_out_already_do_not_change_the_choice():
    store = valued(range(40))
    first = stratified_share(store, 0.1, 0)
    store.evict(first)
    assert stratified_share(store, 0.1, 0).tolist() == first.tolist()


def test_one_episode_is_refused():
    with pytest.raises(ValueError, match="one episode cannot be split"):
        stratified_share(valued([1.0]), 0.5, 0)


@settings(max_examples=25)
@given(st.integers(3, 60), st.lists(st.integers(1, 9), min_size=2, max_size=3), st.integers(0, 3))
def test_shares_of_all_episodes_are_whole_and_apart(count, weights, seed):
    store = TrajectoryStore.of(counting(1 + e % 4, source="ab"[e % 2]) for e in range(count))
    shares = [weight / sum(weights) for weight in weights]
    parts = shared_out(store, shares, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    for ids, share in zip(parts, shares):
        assert len(ids) >= 1
        assert abs(len(ids) - share * count) < 1 or len(ids) == 1 or min(shares) * count < 1


def test_every_part_has_its_share_of_every_source_and_range_of_returns():
    store = TrajectoryStore.of(counting(1 + e % 20, source="ab"[e % 2]) for e in range(400))
    for ids, share in zip(shared_out(store, [0.7, 0.2, 0.1], 0), (0.7, 0.2, 0.1)):
        sources = store.table.source[ids]
        assert abs((sources == "a").sum() - share * 200) <= 2
        assert abs(store.table.returns[ids].mean() - store.table.returns.mean()) < 0.6
