"""EpisodeStats: draws of each episode and what came back, its cost, its state, its statistics."""

import time

import numpy as np
import pytest
from populations import episode, fixed_anchors, population

from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.samplers.base.distributions import share_stats
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore
from trajrl.training.run_dir.checkpoint_parts import read_part, write_part
from trajrl.training.run_dir.episode_stats import EpisodeStats
from trajrl.training.run_dir.replay_stats import quarters


def recorded(name: str = "cluster", **options):
    store = population()
    sampler = make_sampler(name, store, **options)
    kept = EpisodeStats(store, sampler)
    for step in range(1, 11):
        anchors = sampler.sample(stream(0, "sampler", step), 32)
        kept.record(anchors, stream(0, "td", step).random(32), step)
    return store, sampler, kept


def test_looking_at_the_frame_changes_nothing():
    store, _, kept = recorded()
    store.append(episode(3))
    before = kept.state_dict()["columns"]
    assert kept.frame()["draws"].tolist()[-1] == 0
    after = kept.state_dict()["columns"]
    for name, column in before.items():
        np.testing.assert_array_equal(after[name], column)


def test_the_frame_has_a_row_per_episode_with_what_came_of_it():
    store = population()
    kept = EpisodeStats(store, make_sampler("uniform", store))
    kept.record(fixed_anchors([3, 3, 5]), np.array([1.0, 2.0, 4.0]), 1)
    kept.record(fixed_anchors([3]), np.array([6.0]), 2)
    frame = kept.frame()
    assert len(frame) == len(store)
    assert frame.index.name == "episode"
    assert frame.draws.tolist()[3:6] == [3, 0, 1]
    assert frame.td_mean[3] == 3
    assert frame.td_last[3] == 6
    assert np.isnan(frame.td_mean[4])
    assert np.isnan(frame.td_last[4])
    assert frame.phase.tolist()[:3] == ["offline", "offline", "online"]
    assert (frame.cluster == -1).all()
    np.testing.assert_allclose(frame.probability, store.table.length / store.num_steps)


def test_age_counts_from_the_step_an_episode_came():
    store = population()
    kept = EpisodeStats(store, make_sampler("uniform", store))
    kept.record(fixed_anchors([0]), np.ones(1), 5)
    store.append(episode(3))
    kept.record(fixed_anchors([0]), np.ones(1), 6)
    kept.record(fixed_anchors([0]), np.ones(1), 9)
    assert kept.frame().age.tolist()[-2:] == [9, 3]


def test_the_frame_goes_to_parquet_and_back(tmp_path):
    import pandas as pd

    _, sampler, kept = recorded(clusters=3)
    frame = kept.frame()
    frame.to_parquet(tmp_path / "episodes.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "episodes.parquet"), frame, check_dtype=False)
    np.testing.assert_array_equal(frame.cluster, sampler.labels)
    assert frame.draws.sum() == 320


def test_shares_of_clusters_compare_data_and_draws():
    store, sampler, kept = recorded(clusters=3)
    stats = kept.stats()
    data = np.bincount(sampler.labels) / len(store)
    assert [stats[f"cluster/{c}/data_share"] for c in range(3)] == pytest.approx(data)
    assert [stats[f"cluster/{c}/draw_share"] for c in range(3)] == pytest.approx([1 / 3] * 3, abs=0.02)
    assert stats["cluster/data_entropy"] == pytest.approx(share_stats(data)["entropy"])
    draws = kept.frame().draws.to_numpy() / 320
    assert stats["draws/ess"] == pytest.approx(1 / np.square(draws).sum())


def test_episodes_that_came_later_and_have_no_cluster_are_a_part_of_their_own():
    store, sampler, kept = recorded(clusters=3)
    new = store.append(episode(3))
    kept.record(fixed_anchors([new] * 80), np.zeros(80), 11)
    stats = kept.stats()
    count = np.bincount(sampler.labels)
    for c in range(3):
        assert stats[f"cluster/{c}/data_share"] == pytest.approx(count[c] / len(store))
    assert stats["cluster/none/data_share"] == pytest.approx(1 / len(store))
    assert stats["cluster/none/draw_share"] == pytest.approx(80 / 400)
    assert sum(stats[f"cluster/{c}/draw_share"] for c in (0, 1, 2, "none")) == pytest.approx(1)


def test_weights_of_exact_importance_bring_the_draws_back_to_the_data():
    store = population()
    sampler = make_sampler("cluster*priority", store, clusters=3, beta=1.0, metric="return")
    kept = EpisodeStats(store, sampler)
    for step in range(400):
        kept.record(sampler.sample(stream(0, "sampler", step), 64), np.zeros(64), step)
    stats, label = kept.stats(), sampler.labels
    steps = np.bincount(label, store.table.length) / store.num_steps  # exact means uniform over steps
    printed = [stats[f"cluster/{c}/weighted_draw_share"] for c in range(3)]
    assert printed == pytest.approx(steps, abs=0.01)


def test_relative_start_and_success_share_are_of_what_was_drawn():
    store = population()
    kept = EpisodeStats(store, make_sampler("uniform", store))
    length = store.table.length
    kept.record(fixed_anchors([3, 2], [int(length[3]) - 1, 0]), np.ones(2), 1)  # last and first step
    assert kept.stats()["rel_start_mean"] == pytest.approx(0.5)
    assert kept.stats()["rel_start_std"] == pytest.approx(0.5)
    assert kept.stats()["success_share"] == pytest.approx(0.5)  # episode 2 succeeded, episode 3 did not


def test_draws_are_counted_by_success_and_by_quarter_of_what_came():
    store = TrajectoryStore.of(
        episode(4, success=success, seed=i) for i, success in enumerate([True, False, None])
    )
    kept = EpisodeStats(store, make_sampler("uniform", store))
    kept.record(fixed_anchors([0, 0, 1]), np.ones(3), 1)
    assert kept.stats()["age/data_mean"] == 1
    kept.begin_interval()
    assert "age/quarter_1_share" not in kept.stats()  # nothing was drawn since
    store.append(episode(4, success=True, seed=9), "online")
    kept.record(fixed_anchors([0, 3, 3, 3]), np.ones(4), 11)
    stats = kept.stats()
    assert (stats["replay_ratio/all"], stats["replay_ratio/failure"]) == (7 / 16, 1 / 4)
    assert stats["replay_ratio/success"] == 6 / 8  # of episodes 0 and 3
    shares = [stats[f"age/quarter_{k}_share"] for k in (1, 2, 3, 4)]
    assert shares == [0.25, 0, 0, 0.75]
    assert stats["age/data_mean"] == pytest.approx((3 * 11 + 0) / 4)
    assert stats["age/drawn_mean"] == pytest.approx(11 / 4)


def test_nothing_is_said_of_success_where_nobody_said_it():
    store = TrajectoryStore.of(episode(4, seed=i) for i in range(3))
    kept = EpisodeStats(store, make_sampler("uniform", store))
    kept.record(fixed_anchors([0]), np.ones(1), 1)
    assert {name for name in kept.stats() if name.startswith("replay_ratio")} == {"replay_ratio/all"}


def test_an_episode_over_the_border_of_quarters_gives_to_both():
    assert quarters(np.array([6, 2]), np.array([12.0, 1.0])).tolist() == [4.0, 4.0, 4.0, 1.0]


def test_draws_of_an_interval_stand_beside_those_of_the_run():
    store, _, kept = recorded(clusters=3)
    kept.begin_interval()
    kept.record(fixed_anchors([0, 0, 1]), np.ones(3), 11)
    stats, label = kept.stats(), kept.frame().cluster
    assert stats["draws_interval/ess"] == pytest.approx(1 / ((2 / 3) ** 2 + (1 / 3) ** 2))
    assert stats["draws_interval/none_share"] == pytest.approx((len(store) - 2) / len(store))
    counts = np.bincount(label[[0, 0, 1]], minlength=3)
    assert (stats["cluster/interval_draw_min"], stats["cluster/interval_draw_max"]) == (
        counts.min(), counts.max(),
    )  # fmt: skip
    assert stats["cluster/draw_min"] + stats["cluster/draw_max"] <= 323
    assert stats["cluster/data_max"] == np.bincount(label).max()


def test_segments_of_the_last_batch_tell_what_they_paid_and_how_likely_they_were():
    rewards = [[1, 2, 3, 4], [10, 20]]
    store = TrajectoryStore.of(
        Episode(np.zeros((len(r) + 1, 1)), np.zeros((len(r), 1)), r, True) for r in rewards
    )
    kept = EpisodeStats(store, make_sampler("uniform", store), horizon=3)
    assert "segment_return_mean" not in kept.stats()
    kept.record(fixed_anchors([0, 1], [1, 0]), np.ones(2), 1)  # 2 + 3 + 4, and 10 + 20 cut by the end
    stats = kept.stats()
    assert (stats["segment_return_mean"], stats["segment_return_std"]) == (19.5, 10.5)
    assert stats["last_reward"] == 12  # of 4 and 20
    assert (stats["prior_mean"], stats["prior_std"]) == (pytest.approx(0.5), pytest.approx(1 / 6))
    assert kept.stats(make_sampler("episode", store))["prior_std"] == 0


def test_a_state_from_before_intervals_were_counted_is_taken():
    store, sampler, kept = recorded()
    state = kept.state_dict()
    del state["columns"]["draws_logged"], state["last"]
    other = EpisodeStats(store, sampler)
    other.load_state_dict(state)
    assert other.stats()["draws_interval/none_share"] == 1


def test_no_success_share_is_told_where_nobody_said():
    store = population()
    store.table.success[:] = -1
    kept = EpisodeStats(store, make_sampler("uniform", store))
    kept.record(fixed_anchors([0]), np.ones(1), 1)
    assert "success_share" not in kept.stats()


def test_td_errors_that_are_not_numbers_do_not_spoil_the_means():
    store = population()
    kept = EpisodeStats(store, make_sampler("uniform", store))
    kept.record(fixed_anchors([0, 0]), np.array([np.nan, 2.0]), 1)
    assert (kept.frame().td_mean[0], kept.frame().td_last[0]) == (2, 2)
    assert kept.frame().draws[0] == 2


def test_a_round_trip_keeps_every_count(tmp_path):
    store, sampler, kept = recorded(clusters=3)
    write_part(tmp_path, "provenance", kept.state_dict())
    other = EpisodeStats(store, sampler)
    other.load_state_dict(read_part(tmp_path, "provenance"))
    assert other.stats() == kept.stats()
    kept.begin_interval(), other.begin_interval()
    for which in (kept, other):
        which.record(fixed_anchors([1, 2]), np.ones(2), 11)
    assert other.stats() == kept.stats()
    assert other.frame().equals(kept.frame())


def test_an_evicted_episode_keeps_its_record():
    store, sampler, kept = recorded()
    before = kept.frame().draws[4]
    store.evict([4])
    sampler.refresh(1)
    assert kept.frame().draws[4] == before
    assert kept.frame().probability[4] == 0
    assert not kept.frame().alive[4]


def test_recording_a_batch_costs_little():
    _, sampler, kept = recorded("uniform")
    anchors = sampler.sample(stream(0, "sampler"), 256)
    td_error = np.ones(256, np.float32)
    took = []
    for step in range(50):
        began = time.perf_counter()
        kept.record(anchors, td_error, step)
        took.append(time.perf_counter() - began)
    assert np.median(took) < 5e-4
