"""D4RL files: every family's quirks, each with a synthetic twin."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from foreign import at, chained, d4rl, hdf5, normal, read, shared

from trajrl.formats import open_source
from trajrl.formats.d4rl.family import environment_of, family_of, horizon_of, urls


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.hdf5"


def walk(count: int, width: int, resets: tuple[int, ...] = (), step: float = 0.1) -> np.ndarray:
    """Observations whose position creeps, and jumps 12 units after the rows named."""
    move = np.full((count, 2), step)
    move[0] = 0
    move[[row + 1 for row in resets if row + 1 < count]] = 12
    return np.concatenate([move.cumsum(0), normal("rest", count, width - 2)], axis=1).astype(np.float32)


def test_stored_next_observations_keep_the_last_step_of_a_timeout(path):
    hdf5(path, chained(d4rl(), (9, 19)))
    episodes, source = read(path)
    assert [(len(e), e.terminated) for e in episodes] == [(10, False), (10, False)]
    assert episodes[0].obs[-1, 0] != episodes[1].obs[0, 0]
    assert source.notes.counts == {}


def test_without_next_observations_a_timeout_gives_up_its_last_action(path):
    hdf5(path, d4rl())
    episodes, source = read(path)
    assert [len(e) for e in episodes] == [9, 9]
    np.testing.assert_array_equal(episodes[0].obs, d4rl()["observations"][:10])
    assert source.notes.counts == {"dropped_steps": 2}


def test_replay_file_of_version_1_is_squeezed_and_cast_and_counted(path):
    arrays = {name: value.astype(np.float64) for name, value in chained(d4rl(), (9, 19)).items()}
    hdf5(path, {**arrays, "rewards": arrays["rewards"][:, None]})
    episodes, source = read(path)
    assert episodes[0].rewards.shape == (10,)
    assert [len(e) for e in episodes] == [10, 10]
    assert source.notes.counts == {"cast_columns": 6, "reshaped_columns": 1}


def test_terminal_and_timeout_on_one_row_is_a_termination(path):
    hdf5(path, d4rl(terminals=at(20, 9)))
    episodes, source = read(path)
    assert [e.terminated for e in episodes] == [True, False]
    assert source.notes.counts["terminal_and_timeout"] == 1


def test_without_timeouts_ends_are_inferred_from_the_stored_next_observations(path):
    hdf5(path, chained(d4rl(timeouts=None), (6, 19)))
    episodes, source = read(path)
    assert [len(e) for e in episodes] == [7, 13]
    assert source.notes.counts["unflagged_resets"] == 1


def test_without_timeouts_and_next_observations_the_horizon_cuts(path):
    hdf5(path, d4rl(timeouts=None, terminals=at(20, 3)))
    episodes, source = read(path, horizon=8)
    assert [(len(e), e.terminated) for e in episodes] == [
        (4, True),
        (7, False),
        (7, False),
    ]  # rows 4-11, 12-19
    assert source.notes.counts["inferred_ends"] == 2


def test_the_horizon_of_a_family_is_used_where_a_name_says_which():
    assert horizon_of(family_of((29, 8), ""), "antmaze-umaze-v0") == 700
    assert horizon_of(family_of((29, 8), ""), "antmaze-large-play-v0") == 1000
    assert horizon_of(family_of((60, 9), ""), "") == 280
    assert horizon_of(family_of((11, 3), ""), "") == 1000
    assert horizon_of(family_of((45, 24), ""), "pen-human-v0") == 0  # demonstrations outlast any horizon
    assert family_of((3, 3), "kitchen-mixed-v0").name == "kitchen"
    assert family_of((3, 3), "").name == "other"


def test_metadata_is_no_column_and_infos_become_extras(path):
    arrays = d4rl(**{
        "infos/qpos": normal("q", 20, 6).astype(np.float64), "metadata/policy/fc0/weight": normal("w", 20, 4),
        "metadata/algorithm": np.bytes_("SAC"), "metadata/iteration": 3,
    })  # fmt: skip
    hdf5(path, arrays)
    episodes, source = read(path)
    assert set(episodes[0].extras) == {"qpos"}
    assert episodes[0].extras["qpos"].dtype == np.float64
    assert source.versions == {"algorithm": "SAC", "iteration": "3"}


def test_antmaze_terminals_mark_steps_and_say_success(path):
    arrays = d4rl(30, (29, 8), (14, 29), observations=walk(30, 29, (14,)), terminals=at(30, 12, 13, 14))
    hdf5(path, arrays)
    episodes, source = read(path)
    assert [len(e) for e in episodes] == [15, 14]
    assert np.flatnonzero(episodes[0].extras["terminal"]).tolist() == [12, 13, 14]
    assert [(e.success, e.terminated) for e in episodes] == [(True, True), (False, False)]
    assert source.notes.counts["terminal_marks"] == 3


def test_antmaze_with_a_goal_on_a_middle_step_is_one_episode(path):
    hdf5(path, d4rl(20, (29, 8), (19,), observations=walk(20, 29), terminals=at(20, 5, 6, 7)))
    episodes, _ = read(path)
    assert [(len(e), e.terminated, e.success) for e in episodes] == [(19, False, True)]


def test_antmaze_timeouts_that_drift_from_the_resets_are_ignored(path):
    resets, drifting = (10, 21, 32), (8, 17, 26, 35)  # every 11 rows a reset, every 9 a timeout
    hdf5(path, d4rl(44, (29, 8), drifting, observations=walk(44, 29, resets)))
    episodes, source = read(path)
    assert [len(e) for e in episodes] == [10, 10, 10, 10]
    for episode in episodes:
        assert np.linalg.norm(np.diff(episode.obs[:, :2], axis=0), axis=1).max() < 1
    assert source.notes.counts["ignored_timeouts"] == 4
    assert source.notes.counts["unflagged_resets"] == 3


def test_antmaze_reset_without_a_jump_is_cut_at_the_usual_length(path):
    hdf5(path, d4rl(44, (29, 8), (8, 17, 26), observations=walk(44, 29, (10, 32))))  # 11, 22, 11 rows
    episodes, source = read(path)
    assert [len(e) for e in episodes] == [10, 10, 10, 10]
    assert source.notes.counts["inferred_ends"] == 1
    assert source.notes.first["inferred_ends"] == "row 21"


def test_antmaze_length_seen_once_is_not_usual(path):
    hdf5(path, d4rl(33, (29, 8), (8, 17, 26), observations=walk(33, 29, (10,))))  # 11, 22 rows
    episodes, _ = read(path)
    assert [len(e) for e in episodes] == [10, 21]


def test_antmaze_with_stored_next_observations_is_cut_where_they_differ(path):
    arrays = chained(d4rl(20, (29, 8), (19,), observations=walk(20, 29, (9,))), (9, 19))
    hdf5(path, arrays)
    episodes, _ = read(path)
    assert [len(e) for e in episodes] == [10, 10]


def test_antmaze_timeouts_in_step_are_believed(path):
    hdf5(path, d4rl(33, (29, 8), (10, 21, 32), observations=walk(33, 29, (10, 21))))
    episodes, source = read(path)
    assert [len(e) for e in episodes] == [10, 10, 10]
    assert "ignored_timeouts" not in source.notes.counts


def test_hand_demonstration_cut_without_a_reset_is_joined(path):
    q = normal("q", 60, 30) * 0.01
    q[30:] += 4  # a reset between the demonstrations
    hdf5(path, d4rl(60, (39, 28), (19, 49), terminals=at(60, 29, 59), **{"infos/qpos": q}))
    episodes, source = read(path)
    assert [(len(e), e.terminated) for e in episodes] == [(30, True), (30, True)]
    assert source.notes.counts["joined_cuts"] == 2


def test_hand_demonstrations_with_right_flags_stay_apart(path):
    q = normal("q", 40, 30) * 0.01
    q[20:] += 4
    hdf5(path, d4rl(40, (39, 28), (19, 39), **{"infos/qpos": q}))
    episodes, source = read(path)
    assert [len(e) for e in episodes] == [19, 19]
    assert "joined_cuts" not in source.notes.counts


def test_point_maze_timeout_without_a_reset_keeps_its_last_step(path):
    hdf5(path, d4rl(20, (4, 2), (7, 13), observations=walk(20, 4), **{"infos/goal": walk(20, 2)}))
    episodes, source = read(path)
    assert [len(e) for e in episodes] == [8, 6, 5]
    np.testing.assert_array_equal(episodes[0].obs[-1], episodes[1].obs[0])
    assert source.notes.counts["cuts_without_reset"] == 2
    assert source.notes.counts["dropped_steps"] == 1  # of the tail alone


def test_the_widths_of_a_point_maze_alone_make_none(path):
    hdf5(path, d4rl(20, (4, 2), (7, 13), observations=walk(20, 4, (7, 13))))
    episodes, source = read(path)
    assert source.family.name == "other"
    assert [len(e) for e in episodes] == [7, 5, 5]


def test_point_maze_can_be_read_as_one_run(path):
    hdf5(path, d4rl(20, (4, 2), (7, 13), observations=walk(20, 4), **{"infos/goal": walk(20, 2)}))
    episodes, _ = read(path, ends="resets")
    assert [len(e) for e in episodes] == [19]


def test_flags_can_be_taken_at_their_word(path):
    hdf5(path, d4rl(44, (29, 8), (8, 17, 26, 35), observations=walk(44, 29, (10, 21, 32))))
    episodes, _ = read(path, ends="flags")
    assert [len(e) for e in episodes] == [8, 8, 8, 8, 7]


def test_kitchen_ends_at_its_terminals(path):
    hdf5(path, d4rl(20, (60, 9), timeouts=None, terminals=at(20, 8, 19)))
    episodes, _ = read(path)
    assert [(len(e), e.terminated) for e in episodes] == [(9, True), (11, True)]


def test_chunked_file_is_read_whole_and_in_order_of_the_number(path):
    whole = d4rl(24, ends=(7, 23))
    arrays = {}
    for number, chunk in enumerate([0, 1, 2]):
        arrays |= {f"virtual/{number + 8}/{n}": v[8 * chunk : 8 * chunk + 8] for n, v in whole.items()}
    hdf5(path, arrays)  # 8, 9, 10: by text 10 comes first
    episodes, _ = read(path)
    assert [len(e) for e in episodes] == [7, 15]
    np.testing.assert_array_equal(episodes[1].obs, whole["observations"][8:])


def test_episodes_of_length_one_survive(path):
    hdf5(path, d4rl(6, ends=(5,), terminals=at(6, 0, 1, 2)))
    episodes, _ = read(path)
    assert [len(e) for e in episodes] == [1, 1, 1, 2]


def test_flags_that_are_no_flags_are_refused(path):
    hdf5(path, d4rl(terminals=np.linspace(0, 1, 20)))
    with pytest.raises(ValueError, match="'terminals' is a flag, but row 1 holds"):
        read(path)


def test_columns_are_read_in_blocks_of_any_size(path, monkeypatch):
    hdf5(path, chained(d4rl(200, ends=tuple(range(6, 200, 7))), tuple(range(6, 200, 7))))
    whole, _ = read(path)
    monkeypatch.setattr("trajrl.formats.base.columns.BLOCK_BYTES", 300)
    again, _ = read(path)
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one.obs, other.obs)


def test_environment_comes_from_the_published_name_or_from_the_user(tmp_path):
    assert environment_of("hopper_medium-v2") == "hopper-medium-v2"
    assert environment_of("pen-demos-v0-bc-combined") == "pen-cloned-v0"
    assert environment_of("mine") is None
    path = hdf5(tmp_path / "hopper_medium-v2.hdf5", d4rl())
    assert open_source(path).environment == "d4rl:hopper-medium-v2"
    assert open_source(path, environment="gym:mine").environment == "gym:mine"
    assert len(urls()) == 183


def test_real_gym_file_has_two_terminated_episodes():
    episodes, source = read(shared("d4rl/hopper_medium-v2.hdf5"))
    assert [(len(e), e.terminated) for e in episodes] == [(470, True), (441, True)]
    assert [round(e.episode_return, 1) for e in episodes] == [1465.2, 1412.7]
    assert source.notes.counts == {}


def test_real_replay_file_has_two_truncated_episodes():
    episodes, source = read(shared("d4rl/halfcheetah_medium_replay-v1.hdf5"))
    assert [(len(e), e.terminated) for e in episodes] == [(1000, False), (1000, False)]
    assert [round(e.episode_return, 1) for e in episodes] == [-291.9, -316.7]
    assert source.notes.counts == {"cast_columns": 6, "reshaped_columns": 1}


def test_real_human_file_gives_up_one_step_for_each_timeout():
    episodes, source = read(shared("d4rl/pen-human-v1.hdf5"))
    assert [len(e) for e in episodes] == [199, 199]
    assert source.notes.counts == {"dropped_steps": 2}


def test_real_human_file_with_the_flags_of_version_0_is_joined(tmp_path):
    path = tmp_path / "v0.hdf5"
    with h5py.File(shared("d4rl/pen-human-v1.hdf5")) as real:
        arrays = {name: real[name][:] for name in ("observations", "actions", "rewards", "infos/qpos")}
    hdf5(path, {**arrays, "terminals": at(400, 199, 399), "timeouts": at(400, 99, 299)})
    episodes, source = read(path)
    assert [len(e) for e in episodes] == [200, 200]
    assert source.notes.counts["joined_cuts"] == 2


def test_real_antmaze_file_is_cut_at_its_jump():
    episodes, source = read(shared("d4rl/antmaze-umaze-v0.hdf5"))
    assert [(len(e), e.success) for e in episodes] == [(700, False), (700, False)]
    assert set(episodes[0].extras) == {"goal", "qpos", "qvel", "terminal"}
    assert source.notes.counts == {"cast_columns": 1, "dropped_steps": 2}


def test_real_antmaze_file_with_drifting_timeouts_is_cut_at_its_jump(tmp_path):
    path = tmp_path / "drift.hdf5"
    with h5py.File(shared("d4rl/antmaze-umaze-v0.hdf5")) as real:
        arrays = {name: real[name][:] for name in ("observations", "actions", "rewards", "terminals")}
    hdf5(path, {**arrays, "timeouts": at(1402, 698, 1397)})
    episodes, source = read(path)
    assert [len(e) for e in episodes] == [700, 700]
    assert source.notes.counts["ignored_timeouts"] == 2
