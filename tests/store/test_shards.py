"""Several files as one store: the same episodes, windows and statistics as one file of all of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.episodes import assert_same, counting, every_anchor, random_episode, write
from trajrl import Anchors, TrajectoryStore, WindowSpec, gather
from trajrl.store.address_range import PAGE, AddressRange
from trajrl.store.hashing import BLOCKS
from trajrl.store.places import expand, join_places, named, split_places
from trajrl.store.shard_rows import ShardRows, fits, lay_out

SPEC = WindowSpec(history=3, chunk=4, horizon=5, next_actions=True, return_gamma=0.9)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write 40 episodes whole and in four shards of 1, 9, 17 and 13."""
    folder = tmp_path_factory.mktemp("shards")
    episodes = [random_episode(0, index, marks=True) for index in range(40)]
    for first, last in pairwise([0, 1, 10, 27, 40]):
        write(folder / f"shard-{first:02}.h5", episodes[first:last], environment="e")
    return write(folder / "whole.h5", episodes, environment="e"), folder / "shard-*.h5"


@pytest.fixture(params=["ram", "map"])
def halves(request, files):
    """Open both."""
    return tuple(TrajectoryStore.open(str(place), request.param) for place in files)


def test_every_window_is_that_of_one_file(halves):
    whole, parts = halves
    assert (len(parts), parts.num_steps) == (40, whole.num_steps)
    assert_same_windows(parts, whole, every_anchor(whole))


def test_episodes_marks_and_statistics_are_those_of_one_file(halves):
    whole, parts = halves
    for mine, theirs in zip(parts.episodes(), whole.episodes()):
        assert_same(mine, theirs)
    assert parts.marks().tolist() == whole.marks().tolist()
    assert parts.table.start.tolist() == whole.table.start.tolist()
    kept, known = parts.attributes["statistics"], whole.attributes["statistics"]
    for name in set(known) - {BLOCKS}:
        np.testing.assert_allclose(kept[name], known[name], rtol=1e-12, atol=1e-12)
    labels = [index % 2 == 0 for count in (1, 9, 17, 13) for index in range(count)]
    assert parts.table.train.tolist() == labels


def test_online_episodes_go_on_after_the_last_shard(halves):
    whole, parts = halves
    for store in halves:
        store.append(of_the_same_widths(7), "online")
    anchors = Anchors(np.array([40, 39, 0, 40]), np.array([6, 0, 0, 0]), np.ones(4, np.float32))
    assert_same_windows(parts, whole, anchors)


def test_windows_follow_when_a_column_is_replaced(halves):
    whole, parts = halves
    assert_same_windows(parts, whole, every_anchor(whole))
    for store in halves:
        store.keep_columns(np.array([2, 0]))
    assert_same_windows(parts, whole, every_anchor(whole))
    for store in halves:
        store.relabel(np.arange(store.num_steps, dtype=np.float32), np.zeros(store.num_steps, bool))
        store.keep_on("cpu")
    assert_same_windows(parts, whole, every_anchor(whole))


def assert_same_windows(parts: TrajectoryStore, whole: TrajectoryStore, anchors: Anchors) -> None:
    """Compare what is gathered of two stores, number by number."""
    for mine, theirs in zip(gather(parts, anchors, SPEC), gather(whole, anchors, SPEC)):
        assert mine is theirs is None or torch.equal(mine, theirs)


def of_the_same_widths(length: int):
    """Return an episode of this store's widths."""
    from dataclasses import replace

    like = counting(length, marks=[2])
    return replace(like, obs=np.repeat(like.obs, 3, 1), actions=np.repeat(like.actions, 2, 1))


def test_the_fingerprint_is_of_the_shards_and_their_order(tmp_path):
    a, b = (str(write(tmp_path / f"{n}.h5", [counting(n)])) for n in (3, 4))
    prints = [TrajectoryStore.open(found).fingerprint for found in ([a, b], [b, a], [a], a)]
    assert len(set(prints[:3])) == 3
    assert prints[2] == prints[3]
    assert prints[0] == TrajectoryStore.open([a, b], "map").fingerprint


def test_names_and_patterns(tmp_path):
    for name in ("b.h5", "a.h5", "with space.h5"):
        write(tmp_path / name, [counting(len(name))])
    found = expand([f"{tmp_path}/?.h5", f"{tmp_path}/with space.h5"])
    assert [p.rpartition("/")[2] for p in found] == ["a.h5", "b.h5", "with space.h5"]
    text = join_places(found)
    assert (split_places(text), named(text)) == (found, "a.h5 and 2 more")
    assert split_places(f"{tmp_path}/with space.h5") == [f"{tmp_path}/with space.h5"]
    assert join_places(["hopper-medium-v2"]) == "hopper-medium-v2"
    with pytest.raises(ValueError, match="named twice"):
        expand([f"{tmp_path}/a.h5", f"{tmp_path}/*.h5"])
    with pytest.raises(FileNotFoundError, match="no file is called so"):
        expand([f"{tmp_path}/none-*.h5", "x.h5"])


DIFFERENT = {
    "obs of float32": ([random_episode(1, 1, obs_dim=4)], {"environment": "e"}),
    "no extras/terminal": (None, {"environment": "e"}),
    "names other as its environment": ([random_episode(1, 1)], {"environment": "other"}),
    "in the box \\[-2, 2\\]": (
        [random_episode(1, 1)], {"environment": "e", "action_low": [-2, -2], "action_high": [2, 2]},
    ),
    "scaled to": ([random_episode(1, 1)], {"environment": "e", "actions_scaled": True}),
    "hold the same episodes": ([random_episode(0, 0)], {"environment": "e"}),
}  # fmt: skip


@pytest.mark.parametrize("line", DIFFERENT)
def test_what_does_not_agree_is_refused_in_one_line(tmp_path, line):
    episodes, attributes = DIFFERENT[line]
    first = [random_episode(0, 0)] if episodes else [random_episode(0, 0, marks=True)]
    a = write(tmp_path / "a.h5", first, environment="e")
    b = write(tmp_path / "b.h5", episodes or [random_episode(1, 1)], **attributes)
    with pytest.raises(ValueError, match=line) as error:
        TrajectoryStore.open([str(a), str(b)])
    said = str(error.value)
    assert ("a.h5" in said, "b.h5" in said, "\n" in said) == (True, True, False)


def test_a_packed_shard_is_read_but_not_mapped(tmp_path):
    from trajrl.store.file.pack import pack

    episodes = [random_episode(0, index) for index in range(6)]
    a, b = write(tmp_path / "a.h5", episodes[:3]), write(tmp_path / "b.h5", episodes[3:])
    pack(b, tmp_path / "p.h5")
    found = TrajectoryStore.open([str(a), str(tmp_path / "p.h5")])
    for mine, theirs in zip(found.episodes(), episodes):
        assert_same(mine, theirs)
    with pytest.raises(ValueError, match=r"p\.h5 is packed and cannot be mapped"):
        TrajectoryStore.open([str(a), str(tmp_path / "p.h5")], "map")


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.integers(1, 3000), min_size=1, max_size=8),
    row_bytes=st.sampled_from([1, 4, 12, 68, 112, 4096, 12288]),
    start=st.integers(0, 3),
)
def test_no_two_shards_share_a_page_and_rows_are_rows(rows, row_bytes, start):
    lead = 64
    offset = [PAGE * (start + s) + lead for s in range(len(rows))]
    at, size = lay_out(offset, np.array(rows), row_bytes, lead)
    begins = [lead + row_bytes * int(place) for place in at]
    ends = [first + row_bytes * count for first, count in zip(begins, rows)]
    assert all(first % PAGE == byte % PAGE for first, byte in zip(begins, offset))
    assert all(later // PAGE > (last - 1) // PAGE for last, later in zip(ends, begins[1:]))
    assert size == ends[-1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=12), st.integers(0, 2**32))
def test_a_row_lies_where_its_shard_does(rows, seed):
    rng = np.random.default_rng(seed)
    at = np.cumsum([0, *(count + int(gap) for count, gap in zip(rows, rng.integers(0, 99, len(rows))))])[:-1]
    first = np.concatenate([[0], np.cumsum(rows)])
    array = np.full(int(at[-1]) + rows[-1], -1)
    for place, low, high in zip(at, first, first[1:]):
        array[place : place + high - low] = np.arange(low, high)
    base = ShardRows(array, first, at)
    index = rng.integers(0, len(base), (3, 50))
    assert (base.take_at(base.place(index)) == index).all()
    low, high = sorted(rng.integers(0, len(base) + 1, 2).tolist())
    assert base[low:high].tolist() == list(range(low, high))


def test_a_part_is_refused_where_its_page_does_not_fit(tmp_path):
    (tmp_path / "x").write_bytes(bytes(2 * PAGE))
    with (tmp_path / "x").open("rb") as file, pytest.raises(ValueError, match="cannot lie at"):
        AddressRange(PAGE).place(file.fileno(), 8, 8, 16)
    assert fits(4096 + 8, 12, 0)
    assert not fits(4096 + 6, 12, 0)


def test_a_large_part_that_lies_askew_is_refused(tmp_path, monkeypatch):
    from trajrl.store import shard_columns

    monkeypatch.setattr(shard_columns, "MOST_COPIED", 8)
    parts = [[random_episode(n, i) for i in range(n + 3)] for n in range(6)]
    paths = [str(write(tmp_path / f"{n}.h5", part)) for n, part in enumerate(parts)]
    with pytest.raises(ValueError, match=r"cannot be mapped beside the others, as .* lies askew"):
        TrajectoryStore.open(paths, "map")
