"""OGBench files and shard folders: T+1 rows for each trajectory, time limits only, every shard used."""

from __future__ import annotations

import numpy as np
import pytest
from foreign import npz, ogbench, read, shared

from trajrl.formats import import_source, open_source
from trajrl.formats.ogbench.reader import missing_numbers
from trajrl.store.store import TrajectoryStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "toy-play-v0.npz"


def test_the_last_row_of_a_trajectory_is_its_last_observation(path):
    arrays = ogbench([3, 5])
    episodes, source = read(npz(path, arrays))
    assert [(len(e), len(e.obs), e.terminated) for e in episodes] == [(3, 4, False), (5, 6, False)]
    np.testing.assert_array_equal(episodes[1].obs, arrays["observations"][4:])
    np.testing.assert_array_equal(episodes[1].actions, arrays["actions"][4:-1])
    assert source.notes.counts == {"no_rewards": 8}
    assert source.notes.first["no_rewards"] == "toy-play-v0.npz, row 0"


def test_further_members_become_extras_as_found(path):
    arrays = ogbench([3])
    episodes, _ = read(npz(path, arrays))
    assert episodes[0].extras["button_states"].dtype == np.int64
    np.testing.assert_array_equal(episodes[0].extras["qpos"], arrays["qpos"][:-1])


def test_a_tail_without_a_terminal_is_kept_and_counted(path):
    arrays = ogbench([3, 2])
    arrays["terminals"][-1] = False
    episodes, source = read(npz(path, arrays))
    assert [len(e) for e in episodes] == [3, 2]
    assert source.notes.counts["unfinished_tails"] == 1


def test_a_trajectory_of_one_row_is_counted_as_lost(path):
    arrays = ogbench([3, 2])
    arrays["terminals"][0] = True
    episodes, source = read(npz(path, arrays))
    assert [len(e) for e in episodes] == [2, 2]
    assert source.notes.counts["lost_episodes"] == 1


def test_the_compact_layout_of_the_loader_is_read_by_its_valids(path):
    arrays = ogbench([3, 2])
    valids = 1.0 - arrays["terminals"]
    ends = np.minimum(arrays["terminals"] + np.append(arrays["terminals"][1:], 1.0), 1.0)
    episodes, _ = read(npz(path, {**arrays, "terminals": ends, "valids": valids}))
    assert [len(e) for e in episodes] == [3, 2]
    assert "valids" not in episodes[0].extras


def test_every_shard_of_a_hundred_is_read_once_and_in_order(tmp_path):
    for number in range(100):
        npz(tmp_path / "set" / f"toy-play-v0-{number}.npz", ogbench([2, 1], seed=number))
    episodes, source = read(tmp_path / "set")
    assert len(episodes) == 200
    for number in (0, 2, 10, 99):  # by text 10 comes before 2
        np.testing.assert_array_equal(
            episodes[2 * number].obs, ogbench([2, 1], seed=number)["observations"][:3]
        )
    assert "absent_shards" not in source.notes.counts
    assert source.environment == "ogbench:toy-play-v0"


def test_the_import_of_a_folder_shows_how_far_it_is(tmp_path):
    for number in range(100):
        npz(tmp_path / "set" / f"toy-play-v0-{number}.npz", ogbench([2, 1], seed=number))
    shown = []

    def show(items, what, total, unit):
        for count, item in enumerate(items, 1):
            shown.append((count, total, unit))
            yield item

    found = import_source(open_source(tmp_path / "set"), tmp_path / "x.h5", show)
    assert (found["episodes"], found["transitions"]) == (200, 300)
    assert shown[0] == (1, 200, "episodes")
    assert shown[-1] == (200, 200, "episodes")


def test_a_broken_shard_is_found_before_the_first_is_imported(tmp_path):
    for number in range(3):
        npz(tmp_path / "set" / f"toy-{number}.npz", ogbench([2]))
    (tmp_path / "set" / "toy-2.npz").write_bytes(b"PK broken")
    with pytest.raises(ValueError, match=r"toy-2\.npz"):
        open_source(tmp_path / "set")


def test_missing_numbers_of_a_set_are_reported(tmp_path):
    for number in (0, 1, 4):
        npz(tmp_path / "set" / f"toy-{number:03d}.npz", ogbench([2]))
    _, source = read(tmp_path / "set")
    assert source.notes.counts["absent_shards"] == 2
    assert source.notes.first["absent_shards"] == "number 2"
    assert missing_numbers(source.shards) == [2, 3]


def test_validation_shards_are_apart(tmp_path):
    for number in range(2):
        npz(tmp_path / "set" / f"toy-{number}.npz", ogbench([2]))
        npz(tmp_path / "set" / f"toy-{number}-val.npz", ogbench([3]))
    lengths = {
        split: [len(e) for e in read(tmp_path / "set", split=split)[0]] for split in ("train", "val", "all")
    }
    assert lengths["train"] == [2, 2]
    assert lengths["val"] == [3, 3]
    assert sorted(lengths["all"]) == [2, 2, 3, 3]


def test_a_shard_is_a_label_of_its_episodes(tmp_path):
    for number in range(3):
        npz(tmp_path / "set" / f"toy-{number}.npz", ogbench([2, 2]))
    import_source(open_source(tmp_path / "set"), tmp_path / "x.h5")
    assert TrajectoryStore.open(tmp_path / "x.h5").table.shard.tolist() == [0, 0, 1, 1, 2, 2]


def test_shards_of_another_width_are_refused_by_name(tmp_path):
    npz(tmp_path / "set" / "toy-0.npz", ogbench([2]))
    npz(tmp_path / "set" / "toy-1.npz", ogbench([2]) | {"observations": np.zeros((3, 9), np.float32)})
    with pytest.raises(ValueError, match=r"toy-1.npz has observations and actions of \(9, 2\)"):
        read(tmp_path / "set")


def test_a_folder_of_several_sets_is_refused(tmp_path):
    npz(tmp_path / "data" / "cube-play-v0.npz", ogbench([2]))
    npz(tmp_path / "data" / "cube-noisy-v0.npz", ogbench([2]))
    with pytest.raises(ValueError, match=r"several sets \(cube-noisy-v0, cube-play-v0\); name one file"):
        open_source(tmp_path / "data")


def test_a_folder_without_the_chosen_split_is_refused(tmp_path):
    npz(tmp_path / "set" / "toy-0.npz", ogbench([2]))
    with pytest.raises(ValueError, match=r"holds no val shards \(\*\.npz\), but 1 others"):
        open_source(tmp_path / "set", split="val")


def test_discrete_actions_are_refused(path):
    arrays = ogbench([3])
    npz(path, {**arrays, "actions": np.zeros(4, np.int32)})
    with pytest.raises(ValueError, match="'actions' are int32: discrete actions"):
        open_source(path)


def test_pixels_of_another_layout_are_refused(path):
    npz(path, {**ogbench([3]), "observations": np.zeros((4, 64, 64, 3), np.float32)})
    with pytest.raises(ValueError, match="of bytes"):
        open_source(path)


def test_members_are_streamed_in_small_blocks(path, monkeypatch):
    whole, _ = read(npz(path, ogbench([30, 20, 7])))
    monkeypatch.setattr("trajrl.formats.base.columns.BLOCK_BYTES", 64)
    again, _ = read(path)
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one.obs, other.obs)
        np.testing.assert_array_equal(one.extras["button_states"], other.extras["button_states"])


@pytest.mark.parametrize(
    "name", ["pointmaze-medium-navigate-v0-val", "cube-single-play-v0", "scene-play-v0-val"]
)
def test_real_files_agree_with_the_official_loader(name):
    loader = pytest.importorskip("ogbench.utils", reason="ogbench is not installed").load_dataset
    path = shared(f"ogbench/{name}.npz")
    regular = loader(str(path))
    episodes, source = read(path)
    np.testing.assert_array_equal(np.concatenate([e.obs[:-1] for e in episodes]), regular["observations"])
    np.testing.assert_array_equal(np.concatenate([e.obs[1:] for e in episodes]), regular["next_observations"])
    np.testing.assert_array_equal(np.concatenate([e.actions for e in episodes]), regular["actions"])
    assert {len(e) for e in episodes} == {1000}
    assert source.environment == "ogbench:" + name.removesuffix("-val")
