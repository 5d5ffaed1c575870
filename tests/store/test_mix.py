"""Mixtures of stores: shares in transitions, whole episodes, sources kept; and packed copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from episodes import assert_same, counting, every_anchor, random_episode, write

from trajrl import TrajectoryStore, WindowSpec, gather
from trajrl.samplers.clustering.fit import ClusterSpec, cluster_store
from trajrl.samplers.clustering.labels import write_clustering
from trajrl.store.file.pack import pack, unpack
from trajrl.store.file.verify import verify
from trajrl.store.mix import choose, parse_share, write_mixture


@pytest.fixture
def expert(tmp_path) -> Path:
    return write(
        tmp_path / "expert.h5",
        [counting(10 + e % 3, first=1000) for e in range(60)],
        environment="E",
        units={},
    )


@pytest.fixture
def medium(tmp_path) -> Path:
    return write(
        tmp_path / "medium.h5", [counting(4 + e % 5, source="sac") for e in range(80)], environment="E"
    )


def mixed(shares, transitions, out, seed=0) -> tuple[dict, TrajectoryStore]:
    found = write_mixture(choose(shares, transitions, seed), out, seed)
    return found, TrajectoryStore.open(out)


def test_shares_are_counted_in_transitions_of_whole_episodes(expert, medium, tmp_path):
    found, store = mixed([(expert, 0.25), (medium, 0.75)], 400, tmp_path / "m.h5")
    assert [part["wanted"] for part in found["parts"]] == [100, 300]
    for part, longest in zip(found["parts"], (12, 8)):
        assert abs(part["got"] - part["wanted"]) <= longest / 2
    assert found["transitions"] == sum(part["got"] for part in found["parts"]) == store.num_steps


def test_every_episode_keeps_its_source_or_gets_its_files_name(expert, medium, tmp_path):
    _, store = mixed([(expert, 0.25), (medium, 0.75)], 400, tmp_path / "m.h5")
    for e, source in enumerate(store.table.source):
        assert source == ("expert" if store.episode(e).obs[0] == 1000 else "sac")
    assert store.attributes["environment"] == "E"
    assert "units" not in store.attributes  # the parts do not agree


def test_no_part_of_the_file_belongs_to_one_source(expert, medium, tmp_path):
    _, store = mixed([(expert, 0.5), (medium, 0.5)], 400, tmp_path / "m.h5")
    changes = (store.table.source_code[1:] != store.table.source_code[:-1]).sum()
    assert changes > 10


def test_choice_is_a_function_of_the_seed(expert, medium, tmp_path):
    shares = [(expert, 0.5), (medium, 0.5)]
    marks = [
        mixed(shares, 200, tmp_path / f"{i}.h5", seed)[1].fingerprint for i, seed in enumerate((1, 1, 2))
    ]
    assert marks[0] == marks[1] != marks[2]


def test_whole_store_can_be_taken(medium, tmp_path):
    steps = TrajectoryStore.open(medium).num_steps
    _, store = mixed([(medium, 1.0)], steps, tmp_path / "m.h5")
    assert sorted(store.table.length) == sorted(TrajectoryStore.open(medium).table.length)


@pytest.mark.parametrize(
    ("shares", "transitions", "message"),
    [
        ((0.5, 0.4), 100, "these add up to 0.9"),
        ((0.5, 0.5), 0, "at least one transition; got --transitions 0"),
        (
            (0.5, 0.5),
            5000,
            r"expert.h5 has 660 transitions; a share of 0.5 of 5000 needs 2500: lower .* to 1320",
        ),
    ],
)
def test_mixture_that_cannot_be_is_refused(expert, medium, shares, transitions, message):
    with pytest.raises(ValueError, match=message):
        choose(list(zip((expert, medium), shares)), transitions, 0)


def test_stores_of_different_dimensions_are_refused(expert, tmp_path):
    other = write(tmp_path / "other.h5", [random_episode(0, e) for e in range(30)])
    with pytest.raises(
        ValueError, match=r"other.h5 has observations of 3 and actions of 2 numbers; .* 1 and 1"
    ):
        choose([(expert, 0.5), (other, 0.5)], 60, 0)


@pytest.mark.parametrize("text", ["a.h5", "a.h5:", ":0.5", "a.h5:half", "a.h5:0", "a.h5:1.5", "a.h5:nan"])
def test_share_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match="is not PATH:SHARE"):
        parse_share(text)


def test_share_is_read_after_the_last_colon():
    assert parse_share("C:/x:y.h5:0.25") == (Path("C:/x:y.h5"), 0.25)


def test_columns_that_one_part_lacks_are_left_out_and_named(tmp_path):
    goal = np.zeros((3, 2), np.float32)
    write(tmp_path / "a.h5", [counting(3, marks=[1], extras={"goal": goal, "time": np.arange(3)})])
    write(tmp_path / "b.h5", [counting(3, extras={"goal": goal[:, :1], "time": np.arange(3)})])
    found, store = mixed([(tmp_path / "a.h5", 0.5), (tmp_path / "b.h5", 0.5)], 6, tmp_path / "m.h5")
    assert found["left_out"] == ["extras/goal", "table/train"]
    assert set(store.extras) == {"terminal", "time"}
    assert store.extras["terminal"].slice(0, 6).sum() == 1


@pytest.fixture
def plain(tmp_path) -> Path:
    episodes = [random_episode(3, e, True) for e in range(40)]
    return write(tmp_path / "x.h5", episodes, environment="E", provenance={"counts": {"dropped_steps": 2}})


def test_packed_copy_has_the_same_episodes_and_fingerprint(plain, tmp_path):
    pack(plain, tmp_path / "p.h5")
    store, packed = TrajectoryStore.open(plain), TrajectoryStore.open(tmp_path / "p.h5")
    assert packed.fingerprint == store.fingerprint == TrajectoryStore.of(packed.episodes()).fingerprint
    for left, right in zip(store.episodes(), packed.episodes()):
        assert_same(left, right)
    assert packed.table.to_frame().equals(store.table.to_frame())
    spec = WindowSpec(3, 2)
    assert gather(packed, every_anchor(packed), spec).obs.equal(gather(store, every_anchor(store), spec).obs)


def test_unpacked_copy_is_whole_and_can_be_mapped(plain, tmp_path):
    pack(plain, tmp_path / "p.h5")
    unpack(tmp_path / "p.h5", tmp_path / "u.h5")
    assert list(verify(tmp_path / "u.h5")) == []
    unpacked, store = TrajectoryStore.open(tmp_path / "u.h5", "map"), TrajectoryStore.open(plain)
    assert unpacked.fingerprint == store.fingerprint
    assert {k: v for k, v in unpacked.attributes.items() if k != "statistics"} == {
        k: v for k, v in store.attributes.items() if k != "statistics"
    }


def test_packed_store_is_smaller_where_there_is_something_to_pack(tmp_path):
    plain = write(tmp_path / "x.h5", [counting(1000) for _ in range(20)])
    pack(plain, tmp_path / "p.h5")
    assert (tmp_path / "p.h5").stat().st_size < plain.stat().st_size / 3


def test_packed_store_cannot_be_mapped(plain, tmp_path):
    pack(plain, tmp_path / "p.h5")
    with pytest.raises(ValueError, match=r"is packed and cannot be mapped; `python run.py store import"):
        TrajectoryStore.open(tmp_path / "p.h5", "map")


def test_damaged_source_is_not_packed(plain, tmp_path):
    pack(plain, tmp_path / "p.h5")
    content = bytearray((tmp_path / "p.h5").read_bytes())
    middle = len(content) // 3
    content[middle : middle + 400] = bytes(400)
    (tmp_path / "p.h5").write_bytes(content)
    with pytest.raises(ValueError, match=r"p.h5 is damaged|p.h5 is not a whole"):
        unpack(tmp_path / "p.h5", tmp_path / "u.h5")
    assert not (tmp_path / "u.h5").exists()


def test_store_with_an_array_of_no_columns_is_packed_and_unpacked(tmp_path):
    plain = write(tmp_path / "x.h5", [counting(5) for _ in range(9)])
    store, out = TrajectoryStore.open(plain), tmp_path / "c.h5"
    found = cluster_store(store, ClusterSpec(2), seed=0)
    assert found.scaler.state()["axes"].size == 0
    write_clustering(plain, out, store, found)
    pack(out, tmp_path / "p.h5")
    unpack(tmp_path / "p.h5", tmp_path / "u.h5")
    assert list(verify(tmp_path / "p.h5")) == list(verify(tmp_path / "u.h5")) == []
    assert TrajectoryStore.open(tmp_path / "u.h5").table.cluster.tolist() == found.labels.tolist()


def test_one_store_cannot_be_two_parts(medium, tmp_path):
    copy = tmp_path / "copy.h5"
    copy.write_bytes(medium.read_bytes())
    with pytest.raises(ValueError, match=r"medium.h5 and .*copy.h5 hold the same episodes"):
        choose([(medium, 0.5), (copy, 0.5)], 40, 0)
