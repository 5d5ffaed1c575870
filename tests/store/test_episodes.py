"""TrajectoryStore in memory: stable ids, whole episodes, and what is refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from episodes import assert_same, counting, random_episode

from trajrl import Episode, TrajectoryStore
from trajrl.store.moments import Moments
from trajrl.store.normalize import REWARD_TRANSFORMS, statistics
from trajrl.store.table import Table


def test_episodes_come_back_as_they_went_in():
    episodes = [random_episode(1, index, True) for index in range(9)]
    store = TrajectoryStore.of(episodes)
    for e, episode in enumerate(episodes):
        assert_same(store.episode(e), episode)


def test_ids_outlive_eviction_and_later_episodes():
    store = TrajectoryStore.of([counting(3), counting(4), counting(5)])
    store.evict([1])
    assert store.append(counting(6)) == 3
    assert store.live.tolist() == [0, 2, 3]
    assert (len(store), store.num_steps) == (4, 14)
    assert [len(episode) for episode in store.episodes()] == [3, 5, 6]


def test_version_counts_every_change():
    store = TrajectoryStore.of([counting(3, marks=[1])])
    seen = [store.version]
    for change in (lambda: store.append(counting(2)), lambda: store.evict([1]), store.cut_after_success):
        change()
        seen.append(store.version)
    assert len(set(seen)) == 4


def test_cut_after_success_ends_at_the_first_mark_and_counts():
    store = TrajectoryStore.of(
        [counting(6, marks=[2, 4]), counting(4, marks=[]), counting(3, terminated=True, marks=[2])]
    )
    assert store.cut_after_success() == 3
    assert store.table.length.tolist() == [3, 4, 3]
    assert store.table.terminated.tolist() == [True, False, True]
    assert store.table.returns.tolist() == [3, 4, 3]
    assert store.cut_after_success() == 0


def test_cut_store_forgets_statistics_of_what_it_dropped():
    store = TrajectoryStore.of([counting(6, marks=[0])])
    store.attributes["statistics"] = {**statistics(store), "cluster_mean": np.zeros(3)}
    store.cut_after_success()
    assert list(store.attributes["statistics"]) == ["cluster_mean"]  # labels are of episodes, not of steps
    assert statistics(store)["obs_max"].tolist() == [1]


def test_marks_of_appended_episodes_are_found():
    store = TrajectoryStore.of([counting(3, marks=[1])])
    assert store.marks()[:-1].tolist() == [1]
    store.append(counting(4, marks=[0, 3]))
    assert store.marks()[:-1].tolist() == [1, 3, 6]


def test_extra_that_comes_later_is_zero_before():
    store = TrajectoryStore.of([counting(2)])
    store.append(counting(2, marks=[1]))
    store.append(counting(1))
    assert store.extras["terminal"].slice(0, 5).tolist() == [False, False, False, True, False]


def test_extras_of_finer_floats_are_rounded_to_those_of_the_store():
    store = TrajectoryStore.of([counting(1, extras={"goal": np.zeros((1, 2), np.float32)})])
    store.append(counting(1, extras={"goal": np.full((1, 2), 0.1, np.float64)}))
    found = store.extras["goal"].slice(0, 2)
    assert found.dtype == np.float32
    assert found[1].tolist() == [np.float32(0.1)] * 2


@pytest.mark.parametrize(
    ("episode", "message"),
    [
        (
            Episode(np.zeros((3, 2)), np.zeros((2, 1)), np.zeros(2), False),
            "observations of 1 and actions of 1",
        ),
        (counting(2, extras={"goal": np.zeros((2, 3))}), r"extra 'goal'"),
        (counting(2, extras={"goal": np.zeros((2, 2), np.int64)}), "the episode has int64"),
    ],
)
def test_refused_episode_leaves_the_store_as_it_was(episode, message):
    store = TrajectoryStore.of([counting(2, extras={"goal": np.zeros((2, 2), np.float32)})])
    with pytest.raises(ValueError, match=message):
        store.append(episode)
    assert (len(store), len(store.obs), len(store.actions), len(store.rewards)) == (1, 3, 2, 2)


def test_unknown_phase_is_refused():
    with pytest.raises(ValueError, match="offline or online; got 'later'"):
        TrajectoryStore.of([counting(1)]).append(counting(1), "later")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((np.zeros((3, 1)), np.zeros((3, 1)), np.zeros(3)), "3 actions need 4 observations; got 3"),
        ((np.zeros((1, 1)), np.zeros((0, 1)), np.zeros(0)), "at least one action"),
        ((np.zeros((4, 1)), np.zeros((3, 1)), np.zeros((3, 1))), "shape"),
        ((np.zeros(4), np.zeros((3, 1)), np.zeros(3)), "takes obs"),
    ],
)
def test_episode_checks_its_shapes(fields, message):
    with pytest.raises(ValueError, match=message):
        Episode(*fields, False)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.zeros(3, bool), "first axis"),
        (np.array(["a", "b"]), "numbers or flags"),
        (np.zeros((2, 1), bool), "must be bool of shape"),
        (np.zeros(2), "must be bool"),
        (np.zeros(2, complex), "type complex128"),
    ],
)
def test_episode_checks_its_marks(column, message):
    with pytest.raises(ValueError, match=message):
        Episode(np.zeros((3, 1)), np.zeros((2, 1)), np.zeros(2), False, extras={"terminal": column})


def test_numbers_become_float32_and_flags_bool():
    episode = Episode([[0], [1]], [[2]], [3], np.int64(1), np.float64(0))
    assert {episode.obs.dtype, episode.actions.dtype, episode.rewards.dtype} == {np.dtype(np.float32)}
    assert (episode.terminated, episode.success) == (True, False)


def test_table_turns_into_a_frame_and_can_be_copied():
    store = TrajectoryStore.of([counting(2, source="a"), counting(3, source="b", success=True)])
    store.table.set("cluster", np.array([4, 5]), fill=-1)
    store.append(counting(1, source="a"))
    frame = copy.deepcopy(store.table).to_frame()
    assert frame["source"].tolist() == ["a", "b", "a"]
    assert frame["cluster"].tolist() == [4, 5, -1]
    assert frame["phase"].tolist() == ["offline", "offline", "online"]


def test_unknown_column_names_those_there_are():
    with pytest.raises(AttributeError, match=r"no column 'lenght'; it has start, length"):
        _ = TrajectoryStore().table.lenght


def test_moments_in_parts_equal_those_of_the_whole():
    rows = random_episode(2, 0).obs.repeat(5, 0) + np.arange(5 * len(random_episode(2, 0).obs))[:, None]
    parts = Moments()
    for part in np.array_split(rows, 4):
        parts.add(part)
    np.testing.assert_allclose(parts.mean, rows.mean(0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(parts.std, rows.std(0, ddof=1, dtype=np.float64), rtol=1e-12)
    assert (parts.low == rows.min(0)).all()
    assert (parts.high == rows.max(0)).all()


def apply(name: str, store: TrajectoryStore, reward: float) -> float:
    scale, shift = REWARD_TRANSFORMS[name](store)
    return scale * reward + shift


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("no", 3),
        ("iql_antmaze", 2),
        ("cql_antmaze", 10),
        ("antmaze", 5.5),
        ("iql_locomotion", 1500),
        ("normalize", 1.5),
    ],
)
def test_reward_transforms_give_the_published_numbers(name, expected):
    # rewards 1 1 1 1 and 1 1: returns 4 and 2; with 3 at the end: mean and deviation by hand below
    store = TrajectoryStore.of([counting(4), counting(2)])
    if name == "normalize":
        store = TrajectoryStore.of([Episode(np.zeros((4, 1)), np.zeros((3, 1)), [-2.0, 0.0, 2.0], False)])
    assert apply(name, store, 3.0) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["normalize", "iql_locomotion"])
def test_reward_transform_that_would_divide_by_zero_says_so(name):
    with pytest.raises(ValueError, match="all are equal"):
        REWARD_TRANSFORMS[name](TrajectoryStore.of([counting(3), counting(3)]))


def test_scaled_rewards_do_not_depend_on_the_tasks_scale_and_zeros_stay_as_they_are():
    def store(scale: float) -> TrajectoryStore:
        return TrajectoryStore.of(
            [Episode(np.zeros((4, 1)), np.zeros((3, 1)), scale * np.arange(3.0), False)]
        )

    assert apply("scaled", store(7.0), 7.0) == pytest.approx(apply("scaled", store(0.2), 0.2))
    assert apply("scaled", store(0.0), 0.0) == 0.0
    assert apply("scaled", store(0.0), 1.0) == 1.0


def test_an_episode_is_read_without_the_sources_of_all_others(monkeypatch):
    """In 100,000 episodes that was 100,000 names for each: minutes before the first update."""
    of = [Episode(np.zeros((2, 1)), np.zeros((1, 1)), np.zeros(1), True, source=name) for name in "abc"]
    store = TrajectoryStore.of(of)
    monkeypatch.setattr(Table, "source", property(lambda self: pytest.fail("every source was read")))
    assert [episode.source for episode in store.episodes()] == ["a", "b", "c"]
