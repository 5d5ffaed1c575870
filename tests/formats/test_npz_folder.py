"""A folder of recordings: one npz, one episode, in the order of the names."""

from __future__ import annotations

import numpy as np
import pytest
from foreign import npz, read

from trajrl.formats import open_source, recognise


def record(path, value, steps=4, extra_obs=1, **more):
    arrays = {
        "observations": np.full((steps + extra_obs, 3), value, np.float32),
        "actions": np.zeros((steps, 2), np.float32), "rewards": np.ones(steps),
    }  # fmt: skip
    return npz(path, {name: a for name, a in {**arrays, **more}.items() if a is not None})


def test_each_file_is_an_episode_and_numbers_are_in_order(tmp_path):
    for number in (1, 2, 10):
        record(tmp_path / f"episode_{number}.npz", number, steps=3 + number)
    assert recognise(tmp_path) == "npz-folder"
    episodes, source = read(tmp_path)
    assert [len(e) for e in episodes] == [4, 5, 13]
    assert [e.obs[0, 0] for e in episodes] == [1, 2, 10]
    assert (source.count, {e.source for e in episodes}) == (3, {tmp_path.name})
    assert [e.terminated for e in episodes] == [False] * 3


@pytest.mark.parametrize("name", ["terminated", "terminals", "done"])
def test_one_flag_says_how_the_episode_ended(name, tmp_path):
    record(tmp_path / "a.npz", 0, **{name: np.array(True)})
    record(tmp_path / "b.npz", 0, **{name: np.array(False)})
    assert [e.terminated for e in read(tmp_path)[0]] == [True, False]


def test_one_flag_says_whether_it_was_a_success(tmp_path):
    record(tmp_path / "a.npz", 0, success=np.array(True))
    record(tmp_path / "b.npz", 0, is_success=np.array(0))
    record(tmp_path / "c.npz", 0)
    assert [e.success for e in read(tmp_path)[0]] == [True, False, None]


def test_as_many_observations_as_actions_give_up_the_last_action_and_say_so(tmp_path):
    record(tmp_path / "a.npz", 0, extra_obs=0)
    record(tmp_path / "b.npz", 0, extra_obs=0, terminated=np.array(True))
    episodes, source = read(tmp_path)
    assert [len(e) for e in episodes] == [3, 4]
    assert source.notes.counts["dropped_steps"] == 1


def test_rewards_that_are_not_there_are_zero_and_counted(tmp_path):
    record(tmp_path / "a.npz", 0, rewards=None)
    episodes, source = read(tmp_path)
    assert episodes[0].rewards.tolist() == [0] * 4
    assert source.notes.counts["no_rewards"] == 4


def test_other_rows_are_kept(tmp_path):
    record(tmp_path / "a.npz", 0, force=np.arange(4.0), name=np.array("arm"))
    episodes, source = read(tmp_path)
    assert episodes[0].extras["force"].tolist() == [0, 1, 2, 3]
    assert source.notes.counts["skipped_members"] == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"actions": None}, r"b\.npz has no 'actions'; it has observations, rewards"),
        ({"rewards": np.ones(3)}, r"b\.npz"), ({"observations": np.zeros((9, 3))}, r"b\.npz"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_named(wrong, said, tmp_path):
    record(tmp_path / "a.npz", 0)
    record(tmp_path / "b.npz", 0, **wrong)
    with pytest.raises(ValueError, match=said):
        list(open_source(tmp_path).episodes())


@pytest.mark.parametrize("name", ["rewards", "terminated", "success"])
def test_a_column_of_objects_is_refused_and_not_taken_for_absent(name, tmp_path):
    record(tmp_path / "a.npz", 0)
    record(tmp_path / "b.npz", 0, **{name: np.array([1.0, 2, 3, None], object)})
    with pytest.raises(ValueError, match=f"b.npz: '{name}' holds pickled objects, which are never loaded"):
        read(tmp_path)


def test_a_small_file_that_would_fill_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("trajrl.store.file.bounds.UNPACKED", 1000)
    record(tmp_path / "a.npz", 0, steps=200)  # not packed: read, whatever its size
    assert len(read(tmp_path)[0]) == 1
    np.savez_compressed(tmp_path / "b.npz", actions=np.zeros((10**5, 2)), obs=np.zeros((10**5, 3)))
    with pytest.raises(ValueError, match=r"b.npz unpacks to 3 MiB, more than 50 times its size"):
        read(tmp_path)


def pictures(rows, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, 5, 4, 3), np.uint8)


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("ended", [False, True])
def test_images_and_vectors_are_those_that_are_asked_for(tmp_path, extra, ended):
    frames, arm = pictures(4 + extra), np.arange(4.0 + extra)
    record(tmp_path / "a.npz", 7, extra_obs=extra, terminated=np.array(ended), front=frames, arm=arm)
    ((episode,), _) = read(tmp_path, obs_keys=("arm", "observations", "front"))
    steps = 4 if extra or ended else 3
    rows = np.minimum(np.arange(steps + 1), 3 + extra)  # one lacking is the last again
    np.testing.assert_array_equal(episode.images["front"], frames[rows])
    np.testing.assert_array_equal(episode.obs, np.stack([arm, *np.full((3, 4 + extra), 7)], axis=1)[rows])
    assert (len(episode), episode.terminated) == (steps, ended)


def test_images_alone_are_observations_and_made_smaller_where_asked(tmp_path):
    record(tmp_path / "a.npz", 0, front=pictures(5), side=pictures(5, 1))
    ((episode,), _) = read(tmp_path, obs_keys=("front", "side"), image_size=(2, 3))
    assert episode.obs.shape == (5, 0)
    assert {name: image.shape for name, image in episode.images.items()} == {
        "front": (5, 2, 3, 3), "side": (5, 2, 3, 3),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (("back",), "has no 'back'; choose --obs-keys from observations, actions"),
        (("front", "short"), "'front' has 5 rows and 'short' 3; they must be equal"),
        (("soft",), "'soft' is float64 of shape \\(5, 5, 4, 3\\); a vector has"),
    ],
)
def test_what_is_no_observation_is_one_line(tmp_path, keys, reason):
    soft = pictures(5).astype(float)
    record(tmp_path / "a.npz", 0, front=pictures(5), short=np.zeros((3, 2)), soft=soft)
    with pytest.raises(ValueError, match=reason):
        read(tmp_path, obs_keys=keys)
