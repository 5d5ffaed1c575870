"""The journal: what `append` returned from is there after a kill, a cut at any byte, a flipped bit."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from episodes import assert_same, counting
from faults import run_and_kill, run_to_end

from trajrl.core.rng import stream
from trajrl.store.journal import HEAD_BYTES, START, Journal, replay

EPISODES = [counting(1 + e % 2, marks=[0], success=bool(e), source=f"s{e}") for e in range(3)]


@pytest.fixture
def path(tmp_path):
    with Journal(tmp_path) as journal:
        for e, episode in enumerate(EPISODES):
            assert journal.append(episode, meta={"env_step": 10 * e, "seed": e, "share": 0.1}) == e
    return journal.path


def ends(path) -> list[int]:
    """Return where the file ends after each episode, by writing them again."""
    with Journal(path.parent / "again") as journal:
        sizes = [len(START)]
        for e, episode in enumerate(EPISODES):
            journal.append(episode, meta={"env_step": 10 * e, "seed": e, "share": 0.1})
            sizes.append(journal.path.stat().st_size)
    return sizes


def test_episodes_come_back_in_order_with_their_meta(path):
    with Journal(path.parent) as journal:
        found = list(journal.replay())
    for e, (episode, meta) in enumerate(found):
        assert_same(episode, EPISODES[e])
        assert meta == {"env_step": 10 * e, "seed": e, "share": 0.1, "phase": "online", "number": e}
    assert len(found) == len(EPISODES)


def test_writing_goes_on_where_it_stopped(path):
    with Journal(path.parent) as journal:
        assert journal.num_episodes == 3
        assert journal.append(counting(2)) == 3
    assert len(list(replay(path))) == 4


def test_journal_that_was_never_written_is_empty(tmp_path):
    assert list(replay(tmp_path / "none")) == []
    with Journal(tmp_path / "new") as journal:
        assert list(journal.replay()) == []


def test_cut_at_every_byte_leaves_every_earlier_episode(path, capsys, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # hundreds of flushes would be waited for
    whole, sizes = path.read_bytes(), ends(path)
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        before = sum(size <= cut for size in sizes[1:])
        if cut >= len(START):
            assert len(list(replay(path))) == before
        with Journal(path.parent) as journal:
            assert journal.num_episodes == before
            assert path.stat().st_size == sizes[before]
            assert ("are cut off" in "".join(capsys.readouterr())) == (cut > len(START) and cut not in sizes)
            journal.append(EPISODES[0])
        found = [episode for episode, _ in replay(path)]
        assert len(found) == before + 1
        for left, right in zip(found, [*EPISODES[:before], EPISODES[0]]):
            assert left.obs.tobytes() == right.obs.tobytes()


def test_flipped_bit_loses_no_other_episode(path, capsys):
    whole, sizes = path.read_bytes(), ends(path)
    rng = stream(0, "test")
    for place in range(len(START), len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        hit = sum(size <= place for size in sizes) - 1
        numbers = [meta["number"] for _, meta in replay(path)]
        assert numbers == [e for e in range(3) if e != hit], place
        said = "".join(capsys.readouterr())  # a command before may have sent speech to stderr
        assert ("are passed over" in said) == (hit < 2)
        if place % 97 == 0:
            with Journal(path.parent) as journal:  # numbers stay; only a torn tail is given again
                assert journal.num_episodes == (2 if hit == 2 else 3)


def test_damaged_start_is_refused(path):
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a journal of trajrl"):
        Journal(path.parent)
    assert path.read_bytes() == content


def test_record_cut_by_a_lost_block_of_zeros_is_cut_off(path):
    sizes = ends(path)
    content = path.read_bytes()
    path.write_bytes(content[: sizes[2] + HEAD_BYTES] + bytes(len(content) - sizes[2] - HEAD_BYTES))
    with Journal(path.parent) as journal:
        assert journal.num_episodes == 2


def test_one_process_writes(path):
    with Journal(path.parent), pytest.raises(OSError, match="has one writer"):
        Journal(path.parent)
    Journal(path.parent).close()


def test_reader_beside_the_writer_sees_whole_episodes(path):
    with Journal(path.parent) as journal:
        assert len(list(replay(path))) == 3
        journal.append(counting(1))
        assert len(list(replay(path))) == 4


def test_full_disk_takes_the_record_back_and_the_next_one_fits(path, monkeypatch):
    with Journal(path.parent) as journal:
        size = path.stat().st_size

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device; the episode is not kept"):
            journal.append(counting(3))
        monkeypatch.undo()
        assert (path.stat().st_size, journal.num_episodes) == (size, 3)
        assert journal.append(counting(3)) == 3


def test_meta_that_is_not_plain_is_refused_before_anything_is_written(path):
    with Journal(path.parent) as journal, pytest.raises(TypeError, match="plain values; got object"):
        journal.append(counting(1), meta={"thing": object()})
    assert len(list(replay(path))) == 3


def test_numbers_of_any_kind_survive(tmp_path):
    meta = {"big": 2**62, "tiny": 5e-324, "third": 1 / 3, "flag": True, "none": None, "list": np.arange(3)}
    episode = counting(
        2, success=True, extras={"id": np.array([2**40, 1]), "x": np.array([[np.nan, np.inf]] * 2)}
    )
    with Journal(tmp_path) as journal:
        journal.append(episode, "offline", meta)
    found, kept = next(iter(replay(journal.path)))
    assert_same(found, episode)
    assert kept == {**meta, "list": [0, 1, 2], "phase": "offline", "number": 0}


APPEND = """
import numpy as np, sys
from trajrl import Episode
from trajrl.store.journal import Journal
journal = Journal({folder!r})
for e in range(journal.num_episodes, {stop}):
    rows = np.full((101, 5), e, np.float32)
    assert journal.append(Episode(rows, rows[1:, :2], rows[1:, 0], False)) == e
    print("kept", e, flush=True)
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize(
    "fault", [{"after_writes": n, "torn": n % 2 == 0} for n in (1, 3, 6, 7, 8)] + [{"after_seconds": 0.03}]
)
def test_kill_loses_nothing_that_was_kept(tmp_path, fault):
    code = APPEND.format(folder=str(tmp_path), stop=100_000 if "after_seconds" in fault else 8)
    ended = run_and_kill(code, tmp_path, **fault)
    kept = ended.output.count("kept")
    with Journal(tmp_path) as journal:
        found = list(journal.replay())
        assert kept <= len(found) <= kept + 1  # at most the one whose flush had just ended
        assert journal.num_episodes == len(found)
    for e, (episode, meta) in enumerate(found):
        assert meta["number"] == e
        assert (episode.obs == e).all()


def test_killed_writer_goes_on_after_what_it_kept(tmp_path):
    run_and_kill(APPEND.format(folder=str(tmp_path), stop=8), tmp_path, after_writes=9, torn=True)
    run_to_end(APPEND.format(folder=str(tmp_path), stop=8), tmp_path)
    assert [meta["number"] for _, meta in replay(tmp_path / "episodes.journal")] == list(range(8))
