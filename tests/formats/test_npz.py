"""npz files without a layout of their own: key names, masks, two libraries' layouts, objects."""

from __future__ import annotations

import numpy as np
import pytest
from foreign import at, normal, npz, read

from trajrl.formats import import_source, open_source, recognise


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.npz"


def flat(count: int = 12, **more):
    found = {
        "observations": normal("obs", count, 3),
        "actions": normal("act", count, 2),
        "rewards": normal("r", count),
    }
    return {**found, **more}


@pytest.mark.parametrize(
    "names",
    [("obs", "acts", "rews", "dones"), ("observation", "action", "reward", "terminal"),
     ("states", "actions", "rewards", "terminated")],
)  # fmt: skip
def test_columns_are_known_under_their_usual_names(path, names):
    arrays = flat(terminals=at(12, 5, 11))
    npz(path, dict(zip(names, arrays.values())))
    episodes, _ = read(path)
    assert [(len(e), e.terminated) for e in episodes] == [(6, True), (6, True)]
    np.testing.assert_array_equal(episodes[1].actions, arrays["actions"][6:])


def test_next_observations_and_timeouts_keep_every_step(path):
    arrays = flat(terminals=at(12, 5), timeouts=at(12, 11))
    after = np.roll(arrays["observations"], -1, axis=0)
    after[[5, 11]] = 7
    episodes, source = read(npz(path, {**arrays, "next_observations": after}))
    assert [(len(e), e.terminated) for e in episodes] == [(6, True), (6, False)]
    assert (episodes[1].obs[-1] == 7).all()
    assert source.notes.counts == {}


def test_masks_and_terminals_are_kept_apart(path):
    arrays = flat(terminals=at(12, 5, 11).astype(np.float32), masks=1.0 - at(12, 3, 4, 11))
    after = np.roll(arrays["observations"], -1, axis=0)
    after[[5, 11]] = 7
    episodes, source = read(npz(path, {**arrays, "next_observations": after}))
    assert [(len(e), e.terminated) for e in episodes] == [(6, False), (6, True)]
    assert np.flatnonzero(episodes[0].extras["terminal"]).tolist() == [3, 4]
    assert source.notes.counts["terminal_marks"] == 3


def test_stable_baselines_starts_end_episodes_of_unknown_kind(path):
    arrays = flat(episode_starts=at(12, 0, 7))
    episodes, source = read(npz(path, {**arrays, "episode_returns": np.zeros(2)}))
    assert [(len(e), e.terminated) for e in episodes] == [(6, False), (4, False)]
    assert source.notes.counts["ends_of_unknown_kind"] == 2
    assert source.notes.counts["dropped_steps"] == 2
    assert source.notes.first["skipped_members"].startswith("'episode_returns'")


def imitation(**more):
    return {
        "obs": normal("obs", 9, 3), "acts": normal("act", 7, 2), "rews": normal("rew", 7),
        "indices": np.array([4]), "terminal": np.array([True, False]), **more,
    }  # fmt: skip


def test_imitation_trajectories_own_their_last_observation(path):
    arrays = imitation(infos=np.array([{}] * 7, object))
    episodes, source = read(npz(path, arrays))
    assert [(len(e), e.terminated) for e in episodes] == [(4, True), (3, False)]
    np.testing.assert_array_equal(episodes[1].obs, arrays["obs"][5:])
    assert source.notes.counts == {"skipped_members": 1}
    assert "'infos' holds pickled objects" in source.notes.first["skipped_members"]


def test_imitation_without_rewards_holds_zeros_and_says_so(path):
    arrays = imitation()
    del arrays["rews"]
    episodes, source = read(npz(path, arrays))
    assert not episodes[0].rewards.any()
    assert source.notes.counts["no_rewards"] == 7


def test_imitation_splits_that_do_not_fit_are_refused(path):
    with pytest.raises(ValueError, match="'indices' splits 7 steps into 3, 'terminal' has 2"):
        read(npz(path, imitation(indices=np.array([2, 4]))))


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle ran')",)


def test_an_object_member_among_good_ones_is_skipped_and_never_run(path, tmp_path):
    arrays = flat(terminals=at(12, 11), infos=np.array([Bomb()] * 12, object))
    found = import_source(open_source(npz(path, arrays)), tmp_path / "x.h5")
    assert found["transitions"] == 12
    assert any("'infos' holds pickled objects, which are never loaded" in note for note in found["notes"])


def test_a_needed_member_of_objects_is_refused(path):
    arrays = {**flat(terminals=at(12, 11)), "actions": np.array([Bomb()] * 12, object)}
    with pytest.raises(
        ValueError, match=r"has no 'actions'.*actions hold pickled objects, which are never loaded"
    ):
        read(npz(path, arrays))


def test_a_file_of_objects_alone_is_refused(path):
    with pytest.raises(ValueError, match=r"holds only objects \(a\)"):
        open_source(npz(path, {"a": np.array([Bomb()], object)}))


def test_fortran_order_is_refused_with_what_to_do(path):
    arrays = flat(terminals=at(12, 11))
    arrays["observations"] = np.asfortranarray(arrays["observations"])
    with pytest.raises(ValueError, match=r"'observations' is stored by columns.*ascontiguousarray"):
        open_source(npz(path, arrays))


def test_compressed_members_are_read(path):
    arrays = flat(terminals=at(12, 5, 11))
    np.savez_compressed(path, **arrays)
    assert [len(e) for e in read(path)[0]] == [6, 6]


def test_rewards_make_a_file_of_the_ogbench_names_a_plain_npz(path):
    assert recognise(npz(path, flat(terminals=at(12, 11)))) == "npz"


def test_discrete_actions_are_refused(path):
    with pytest.raises(ValueError, match="discrete actions"):
        read(npz(path, {**flat(terminals=at(12, 11)), "actions": np.zeros(12, np.int64)}))


def test_an_action_or_observation_of_one_number_may_lack_its_axis(path):
    arrays = {**flat(terminals=at(12, 11)), "actions": normal("act", 12), "observations": normal("obs", 12)}
    episodes, source = read(npz(path, arrays))
    assert (episodes[0].obs.shape, episodes[0].actions.shape) == ((13, 1), (12, 1))
    assert source.notes.counts["reshaped_columns"] == 2


def test_short_names_are_read_and_absent_ones_listed_with_what_is_accepted(tmp_path):
    arrays = {"obs": np.zeros((6, 3)), "act": np.zeros((6, 2)), "rew": np.ones(6), "done": np.arange(6) == 5}
    assert [len(e) for e in read(npz(tmp_path / "a.npz", arrays))[0]] == [6]
    arrays["moves"] = arrays.pop("act")
    with pytest.raises(ValueError, match=r"has no 'actions'; it has .*; accepted are actions, acts,"):
        read(npz(tmp_path / "b.npz", arrays))
