"""Clusters of trajectories: the choice of a count, balance, growth, stored labels, degenerate data."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from populations import episode, fixed_anchors, population

from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.samplers.base.distributions import Balanced, share_stats
from trajrl.samplers.clustering.explained import explained
from trajrl.samplers.clustering.fit import ClusterSpec, cluster_store
from trajrl.samplers.clustering.kmeans import fit_centres, nearest
from trajrl.samplers.clustering.labels import read_clustering, write_clustering
from trajrl.samplers.clustering.num_clusters import candidates, homogeneity
from trajrl.store.episode import Episode
from trajrl.store.file.verify import verify
from trajrl.store.file.writer import StoreWriter
from trajrl.store.store import TrajectoryStore


def of_kind(kind: int, length: int, seed: int) -> Episode:
    """Return an episode of a kind: its place, its return, and how wide and fast it moves and acts."""
    made, wide = episode(length, 10.0 * kind, seed=seed), 0.1 + kind
    return replace(made, obs=10 * kind + wide * made.obs, actions=wide * made.actions)


def kinds(count: int = 60) -> TrajectoryStore:
    """Return episodes of three kinds that also differ in length; shares 1/2, 1/3, 1/6."""
    store = TrajectoryStore()
    for i in range(count):
        kind = [0, 0, 0, 1, 1, 2][i % 6]
        store.append(of_kind(kind, 4 + 8 * kind + i % 2, i), "offline")
    return store


def kind_of(store: TrajectoryStore) -> np.ndarray:
    return np.array([[0, 0, 0, 1, 1, 2][i % 6] for i in range(len(store))])


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    return len(set(zip(a.tolist(), b.tolist()))) == len(set(a.tolist())) == len(set(b.tolist()))


def test_clusters_find_the_kinds():
    store = kinds()
    found = cluster_store(store, ClusterSpec(clusters=3))
    assert same_partition(found.labels, kind_of(store))


def test_the_count_is_chosen_by_homogeneous_returns():
    store = kinds()
    found = cluster_store(store, ClusterSpec())
    assert found.count == 3
    assert sorted(found.scores) == [2, 3, 4, 5, 6]
    assert found.scores[3] == min(found.scores.values())
    assert found.scores[3] == pytest.approx(homogeneity(found.labels, store.table.returns))


def test_homogeneity_is_a_share_of_the_variance_plus_penalties():
    returns = np.array([0.0, 2.0, 10.0, 12.0] * 10)
    labels = np.array([0, 0, 1, 1] * 10)
    assert homogeneity(labels, returns) == pytest.approx(1 / 26 + 0 + 0.04)
    assert homogeneity(labels, 1000 * returns - 7) == pytest.approx(1 / 26 + 0.04)
    tiny = labels.copy()
    tiny[0] = 2  # one of three clusters has fewer than 2 members
    assert homogeneity(tiny, returns) == pytest.approx(_within(tiny, returns) + 1 / 3 + 0.06)
    assert homogeneity(labels, np.full(40, 3.3)) == pytest.approx(0.04)


def _within(labels: np.ndarray, returns: np.ndarray) -> float:
    return sum((labels == c).sum() * returns[labels == c].var() for c in set(labels)) / (40 * returns.var())


def test_candidates_are_bounded_by_a_tenth():
    assert candidates(19) == []
    assert candidates(35) == [2, 3]
    assert candidates(10_000) == list(range(2, 13))


def test_the_same_seed_gives_the_same_labels_on_any_number_of_threads():
    x = stream(0, "test").normal(size=(4000, 24)).astype(np.float32)
    runs = [fit_centres(x, 6, seed=7, restarts=3, threads=threads) for threads in (1, 1, 2)]
    labels = [nearest(x, centres) for centres in runs]
    np.testing.assert_array_equal(labels[0], labels[1])
    np.testing.assert_array_equal(labels[0], labels[2])
    assert not np.array_equal(runs[0], fit_centres(x, 6, seed=8, restarts=3))


def test_the_thread_setting_of_faiss_is_given_back():
    import faiss

    faiss.omp_set_num_threads(2)
    fit_centres(stream(0, "test").normal(size=(50, 2)).astype(np.float32), 2, seed=0, threads=1)
    assert faiss.omp_get_max_threads() == 2


def test_points_beyond_the_cap_are_left_out_of_the_fit_by_the_seed():
    x = stream(0, "test").normal(size=(2000, 4)).astype(np.float32)
    capped = [fit_centres(x, 4, seed=1, restarts=1, max_points=100) for _ in range(2)]
    np.testing.assert_array_equal(*capped)
    assert not np.array_equal(capped[0], fit_centres(x, 4, seed=1, restarts=1))


def test_centres_without_members_are_dropped():
    x = np.repeat([[0.0, 0.0], [1.0, 1.0]], 20, axis=0).astype(np.float32)
    centres = fit_centres(x, 5, seed=0)
    assert len(centres) == 2
    assert set(nearest(x, centres)) == {0, 1}


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 64), st.floats(0, 1))
def test_a_balanced_batch_holds_equal_numbers_from_each_group(groups, n, floor):
    groups = np.array(groups)
    ids = np.arange(len(groups)) * 2
    law = Balanced(ids, groups, np.ones(len(groups)))
    drawn = groups[law.draw(stream(n, "test"), n) // 2]
    counts = np.array([(drawn == g).sum() for g in set(groups.tolist())])
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1
    assert Balanced(ids, groups, np.ones(len(groups)), floor).p.sum() == pytest.approx(1)


def test_the_remainder_goes_to_distinct_clusters_at_random():
    law = Balanced(np.arange(10), np.arange(10) % 5, np.ones(10))
    extra = np.zeros(5)
    for i in range(500):
        counts = np.bincount(law.draw(stream(i, "test"), 8) % 5, minlength=5)
        assert sorted(counts) == [1, 1, 2, 2, 2]
        extra += counts - 1
    assert np.abs(extra / 300 - 1).max() < 0.2


def test_a_product_is_balanced_across_and_prioritised_within():
    store = kinds()
    sampler = make_sampler("cluster*priority", store, clusters=3, metric="return")
    p, kind = sampler.probabilities(), kind_of(store)
    np.testing.assert_allclose([p[kind == k].sum() for k in range(3)], 1 / 3)
    q = make_sampler("priority", store, metric="return").probabilities()
    for k in range(3):
        np.testing.assert_allclose(p[kind == k] * 3, q[kind == k] / q[kind == k].sum())


def test_the_floor_draws_some_episodes_without_regard_to_clusters():
    store = kinds()
    balanced = make_sampler("cluster", store, clusters=3).probabilities()
    floored = make_sampler("cluster", store, clusters=3, floor=0.2).probabilities()
    np.testing.assert_allclose(floored, 0.8 * balanced + 0.2 / 60)
    plain, inner = (
        make_sampler("cluster*priority", store, clusters=3, metric="return", **{"left.floor": floor})
        for floor in (0.0, 0.2)
    )
    q = make_sampler("priority", store, metric="return").probabilities()
    np.testing.assert_allclose(inner.probabilities(), 0.8 * plain.probabilities() + 0.2 * q)


def test_td_errors_reach_the_right_of_a_product():
    store = kinds()
    sampler = make_sampler("cluster*priority", store, clusters=3, refresh_every=1)
    sampler.feedback(fixed_anchors([0, 1]), np.array([1.0, 5.0]))
    sampler.refresh(1)
    assert sampler.probabilities()[0] < sampler.probabilities()[1]


def test_a_product_leaves_out_clusters_that_have_no_mass():
    store = kinds()
    p = make_sampler("cluster*top", store, clusters=3, share=0.1).probabilities()
    assert p[kind_of(store) == 2].sum() == pytest.approx(1)


def test_new_episodes_join_the_nearest_centre_and_centres_stay():
    store = kinds()
    sampler = make_sampler("cluster", store, clusters=3)
    centres = sampler.clustering.centres.copy()
    new = [store.append(of_kind(k, 4 + 8 * k, 500 + k)) for k in (2, 0, 1)]
    sampler.refresh(1)
    old = [sampler.labels[np.flatnonzero(kind_of(store)[:60] == k)[0]] for k in (2, 0, 1)]
    assert sampler.labels[new].tolist() == old
    np.testing.assert_array_equal(sampler.clustering.centres, centres)


def test_a_refit_moves_the_centres_when_it_is_due():
    store = kinds()
    sampler = make_sampler("cluster", store, clusters=3, refit_every=10)
    centres = sampler.clustering.centres.copy()
    for i in range(20):
        store.append(episode(30, 50.0, seed=900 + i))
    sampler.refresh(9)
    np.testing.assert_array_equal(sampler.clustering.centres, centres)
    sampler.refresh(10)
    assert not np.array_equal(sampler.clustering.centres, centres)
    moved = sampler.clustering.centres.copy()
    store.append(episode(40, 90.0, seed=999))
    sampler.refresh(19)
    np.testing.assert_array_equal(sampler.clustering.centres, moved)
    sampler.refresh(20)
    assert not np.array_equal(sampler.clustering.centres, moved)


def test_a_cluster_that_lost_all_its_episodes_is_not_drawn():
    store = kinds()
    sampler = make_sampler("cluster", store, clusters=3)
    store.evict(np.flatnonzero(kind_of(store) == 1))
    sampler.refresh(1)
    p = sampler.probabilities()
    np.testing.assert_allclose([p[kind_of(store) == k].sum() for k in (0, 2)], 0.5)
    sampler.sample(stream(0, "sampler"), 65)


def test_an_empty_store_may_grow_into_clusters():
    store = TrajectoryStore()
    sampler = make_sampler("cluster", store, clusters=3)
    with pytest.raises(ValueError, match="no episode"):
        sampler.sample(stream(0, "sampler"), 4)
    counts = []
    for i in range(12):
        store.append(episode(4 + 8 * (i % 3), 10.0 * (i % 3), seed=i))
        sampler.refresh(i + 1)
        counts.append(len(set(sampler.labels.tolist())))
        assert (sampler.probabilities() > 0).all()
    assert counts[0] == 1
    assert counts[-1] == 3


def test_fewer_trajectories_than_clusters_make_as_many_clusters_and_say_so():
    sampler = make_sampler("cluster", population(4), clusters=9)
    assert len(set(sampler.labels.tolist())) == 4
    assert "9 clusters asked for and 4 trajectories" in sampler.notes[0]


def test_trajectories_without_differences_are_one_cluster():
    store = TrajectoryStore.of([episode(5)] * 30)
    for clusters in (4, "auto"):
        sampler = make_sampler("cluster", store, clusters=clusters)
        assert set(sampler.labels.tolist()) == {0}
        assert "differ too little" in sampler.notes[0]
        np.testing.assert_allclose(sampler.probabilities(), 1 / 30)


def test_one_episode_is_one_cluster():
    sampler = make_sampler("cluster", TrajectoryStore.of([episode(5)]))
    assert sampler.probabilities().tolist() == [1.0]
    assert "too few to choose" in sampler.notes[0]


def test_share_statistics_have_their_golden_values():
    printed = share_stats(np.array([0.5, 0.3, 0.2]))
    assert printed["entropy"] == pytest.approx(1.029653, abs=1e-6)
    assert printed["kl_uniform"] == pytest.approx(0.068959, abs=1e-6)
    assert printed["ess"] == pytest.approx(2.631579, abs=1e-6)


def test_stats_tell_every_cluster_and_every_score():
    stats = make_sampler("cluster", kinds()).stats()
    assert sorted(stats[f"cluster/{c}/episodes"] for c in range(3)) == [10, 20, 30]
    assert stats["score/3"] < stats["score/2"]
    assert {"cluster/0/length_mean", "cluster/0/length_std", "cluster/0/return_mean"} <= set(stats)
    assert stats["cluster/data_kl_uniform"] > 0


@pytest.fixture
def stored(tmp_path):
    """Write a store file, and a clustering of it into a second file."""
    path, out = tmp_path / "x.h5", tmp_path / "y.h5"
    with StoreWriter(path) as writer:
        for e in kinds().episodes():
            writer.append(e)
    store = TrajectoryStore.open(path)
    found = cluster_store(store, ClusterSpec(clusters=4, keyframes=5), seed=11)
    write_clustering(path, out, store, found)
    return path, out, found


def test_a_stored_clustering_is_read_back_whole(stored):
    path, out, found = stored
    store = TrajectoryStore.open(out)
    back = read_clustering(store)
    np.testing.assert_array_equal(back.labels, found.labels)
    np.testing.assert_array_equal(store.table.cluster, found.labels)
    np.testing.assert_array_equal(back.assign(store, store.live), found.labels)
    assert (back.spec, back.seed, back.scores) == (found.spec, found.seed, found.scores)
    assert store.fingerprint == TrajectoryStore.open(path).fingerprint
    assert read_clustering(TrajectoryStore.open(path)) is None
    assert list(verify(out)) == []


def test_the_sampler_uses_a_stored_clustering_that_answers_to_its_options(stored):
    _, out, found = stored
    store = TrajectoryStore.open(out)
    used = make_sampler("cluster", store, keyframes=5)
    np.testing.assert_array_equal(used.labels, found.labels)
    other = make_sampler("cluster", store, keyframes=5, clusters=2)
    assert len(set(other.labels.tolist())) == 2
    assert "fitting anew" in other.notes[0]
    assert len(set(make_sampler("cluster", store, stored=False).labels.tolist())) == 3


def test_online_episodes_of_a_stored_clustering_are_assigned(stored):
    store = TrajectoryStore.open(stored[1])
    sampler = make_sampler("cluster", store, keyframes=5)
    new = store.append(episode(5, 0.0, seed=3))
    assert store.table.cluster[new] == -1
    sampler.refresh(1)
    assert sampler.labels[new] >= 0


def styles(count: int = 40) -> TrajectoryStore:
    """Return two ways of acting, a calm and a hasty one, each in episodes of every length from 5 to 60."""
    store = TrajectoryStore()
    for i in range(count):
        length, rng = 5 + int(stream(i, "length").integers(55)), stream(i, "test")
        act = (
            0.5 * rng.choice([-1.0, 1.0], (length, 2))
            if i % 2
            else np.repeat(rng.uniform(-0.9, 0.9, (1, 2)), length, 0)
        )
        obs = rng.normal(size=(length + 1, 3))
        store.append(Episode(obs, act, np.ones(length), False, None, "hasty" if i % 2 else "calm"), "offline")
    return store


def test_behaviours_are_told_apart_where_lengths_hide_them():
    store = styles()
    by = {
        name: explained(store, cluster_store(store, ClusterSpec(clusters=2, describe=name)).labels)
        for name in ("behaviour", "shape")
    }
    assert by["behaviour"]["source"].share == pytest.approx(1)
    assert by["shape"]["source"].share < 0.3
    assert by["shape"]["length"].share > 0.4 > by["behaviour"]["length"].share


def test_an_unknown_description_is_refused():
    with pytest.raises(ValueError, match="shapes"):
        ClusterSpec(describe="shapes").validate()


def test_a_clustering_of_before_descriptions_is_one_by_shape(stored):
    path, out, _ = stored
    store = TrajectoryStore.open(path)
    found = cluster_store(store, ClusterSpec(clusters=3, describe="shape"))
    write_clustering(path, out, store, found)
    with h5py.File(out, "r+") as file:
        kept = json.loads(file.attrs["clustering"])
        del kept["spec"]["describe"]
        file.attrs["clustering"] = json.dumps(kept)
    assert read_clustering(TrajectoryStore.open(out)).spec == found.spec


def test_a_state_of_before_descriptions_goes_on_by_shape():
    store = kinds()
    sampler = make_sampler("cluster", store, clusters=3, describe="shape")
    state = sampler.state_dict()
    del state["describe"]
    other = make_sampler("cluster", store, clusters=3)
    other.load_state_dict(state)
    assert other.config.describe == "shape"
    new = store.append(episode(20, 20.0, seed=3))
    for one in (sampler, other):
        one.refresh(1)
    assert other.labels[new] == sampler.labels[new] >= 0
