"""Flat rows -> episodes: where they end, what their last observation is, what is given up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajrl.store.notes import SENTENCES, Notes
from trajrl.store.segment import (
    GIVEN_UP,
    REPEATED,
    STORED,
    Ends,
    Flags,
    Rows,
    Rules,
    cut,
    differs,
    find_ends,
    segment,
)


def rows(count: int, next_obs: list[float] | None = None, **extras) -> Rows:
    """Rows that describe themselves: observation = row, action = row / 10, reward = 1."""
    obs = np.arange(count, dtype=np.float32)[:, None]
    after = None if next_obs is None else np.array(next_obs, np.float32)[:, None]
    return Rows(obs, obs / 10, np.ones(count, np.float32), after, extras)


def flags(count: int, terminals=(), timeouts=None, starts=None) -> Flags:
    """Flags with True at the rows named."""

    def at(named):
        return None if named is None else np.isin(np.arange(count), list(named))

    return Flags(at(terminals), at(timeouts), None, at(starts))


def cut_up(count: int, found: Flags, rules: Rules | None = None, next_obs=None, **extras):
    notes = Notes()
    return list(segment(rows(count, next_obs, **extras), found, rules, notes)), notes


def test_terminated_end_without_next_repeats_its_last_observation():
    episodes, notes = cut_up(3, flags(3, terminals=[2]))
    assert episodes[0].obs.ravel().tolist() == [0, 1, 2, 2]
    assert episodes[0].terminated
    assert notes.counts == {"repeated_last_obs": 1}


def test_truncated_end_without_next_gives_up_its_last_action_and_says_so():
    episodes, notes = cut_up(5, flags(5, terminals=[4], timeouts=[2]))
    assert [e.obs.ravel().tolist() for e in episodes] == [[0, 1, 2], [3, 4, 4]]
    assert [len(e) for e in episodes] == [2, 2]
    assert notes.counts["dropped_steps"] == 1
    assert notes.first["dropped_steps"] == "row 2"


def test_truncated_end_with_next_loses_nothing():
    episodes, notes = cut_up(4, flags(4, timeouts=[1, 3]), next_obs=[1, 50, 3, 60])
    assert [e.obs.ravel().tolist() for e in episodes] == [[0, 1, 50], [2, 3, 60]]
    assert notes.counts == {}


def test_first_row_of_the_next_episode_is_never_a_last_observation():
    episodes, _ = cut_up(6, flags(6, terminals=[1], timeouts=[3]))
    for episode in episodes:
        assert np.diff(episode.obs.ravel()).max() == 1
    assert [e.obs[0, 0] for e in episodes] == [0, 2, 4]
    assert [e.obs[-1, 0] for e in episodes] == [1, 3, 5]


def test_terminal_wins_over_a_timeout_on_the_same_row():
    episodes, notes = cut_up(2, flags(2, terminals=[1], timeouts=[1]))
    assert episodes[0].terminated
    assert notes.counts["terminal_and_timeout"] == 1


def test_episodes_of_one_step_survive():
    episodes, _ = cut_up(3, flags(3, terminals=[0, 1, 2]))
    assert [len(e) for e in episodes] == [1, 1, 1]


def test_a_truncated_single_step_without_next_is_counted_as_lost():
    episodes, notes = cut_up(3, flags(3, terminals=[2], timeouts=[0]))
    assert [e.obs[0, 0] for e in episodes] == [1]
    assert notes.counts["lost_episodes"] == 1
    assert notes.counts["dropped_steps"] == 1
    assert "LOST" in " ".join(notes.lines())


def test_unfinished_tail_is_kept_as_truncated():
    episodes, notes = cut_up(4, flags(4, terminals=[1], timeouts=[]))
    assert [(len(e), e.terminated) for e in episodes] == [(2, True), (1, False)]
    assert notes.counts["unfinished_tails"] == 1


def test_starts_end_the_episode_before_them():
    episodes, _ = cut_up(5, flags(5, starts=[0, 3]), next_obs=[1, 2, 9, 4, 9])
    assert [len(e) for e in episodes] == [3, 2]


def test_a_gap_in_next_obs_ends_an_episode_without_a_flag():
    episodes, notes = cut_up(4, flags(4), next_obs=[1, 70, 3, 4])
    assert [e.obs.ravel().tolist() for e in episodes] == [[0, 1, 70], [2, 3, 4]]
    assert notes.counts["unflagged_resets"] == 1


def test_a_terminal_inside_a_recording_that_goes_on_ends_nothing():
    episodes, notes = cut_up(4, flags(4, terminals=[1, 3]), next_obs=[1, 2, 3, 4])
    assert [len(e) for e in episodes] == [4]
    assert notes.counts["unconfirmed_terminals"] == 1
    assert notes.first["unconfirmed_terminals"] == "row 1"


def test_the_counter_of_the_horizon_restarts_after_every_end():
    episodes, notes = cut_up(10, flags(10, terminals=[3]), Rules(horizon=3))
    assert [e.obs[0, 0] for e in episodes] == [0, 3, 4, 7]  # row 3 is terminal: the next is cut after row 6
    assert notes.counts["inferred_ends"] == 3


def test_a_real_end_on_the_horizon_is_not_inferred():
    _, notes = cut_up(3, flags(3, terminals=[2]), Rules(horizon=3))
    assert "inferred_ends" not in notes.counts


def test_extras_are_cut_with_the_actions():
    episodes, _ = cut_up(4, flags(4, terminals=[3], timeouts=[1]), qpos=np.arange(4.0))
    assert [e.extras["qpos"].tolist() for e in episodes] == [[0], [2, 3]]


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="'terminals' has 3 rows and actions 4"):
        list(segment(rows(4), flags(3, terminals=[2])))


def test_an_unknown_note_is_refused():
    with pytest.raises(KeyError, match="no note 'droped'"):
        Notes().add("droped")
    assert all(sentence[0] != " " for sentence in SENTENCES.values())


def test_stored_next_differs_only_beyond_rounding():
    obs = np.array([[0.0], [1.0], [2.0]], np.float32)
    assert differs(obs[1:] + 1e-6, obs).tolist() == [False, False]
    assert differs(obs[1:] + 1e-3, obs).tolist() == [True, True]
    assert not differs(np.full((3, 1), 9.0), obs)[-1]


bools = st.lists(st.tuples(*[st.integers(0, 3).map(lambda n: n == 0)] * 4), min_size=1, max_size=40)
rule = st.builds(
    Rules,
    stored_next=st.booleans(),
    terminals_end=st.booleans(),
    confirm=st.booleans(),
    horizon=st.integers(0, 5),
)


def slow_ends(found: list[tuple[bool, ...]], rules: Rules) -> list[tuple[int, bool, int]]:
    """Find ends row by row, as the rules are written down."""
    ends, start = [], 0
    for t, (terminal, timeout, reset, _) in enumerate(found):
        last = t == len(found) - 1
        broken = not last and (reset or found[t + 1][3])
        solved = terminal and ((broken or last) if rules.confirm else rules.terminals_end)
        flagged = timeout or broken or solved or last
        full = rules.horizon > 0 and t - start + 1 == rules.horizon
        if flagged or full:
            terminated = terminal and flagged
            kind = STORED if rules.stored_next else REPEATED if terminated else GIVEN_UP
            ends.append((t + 1, terminated, kind))
            start = t + 1
    return ends


@given(found=bools, rules=rule, size=st.integers(1, 50))
def test_ends_in_blocks_equal_those_found_row_by_row(found, rules, size):
    columns = np.array(found, bool).T  # terminals, timeouts, resets, starts
    columns[2][-1] = False
    blocks = [Flags(*columns[:, i : i + size]) for i in range(0, len(found), size)]
    ends = find_ends(blocks, rules, Notes())
    got = list(zip(ends.stop.tolist(), ends.terminated.tolist(), ends.last.tolist()))
    assert got == slow_ends([tuple(row) for row in columns.T], rules)


@given(found=bools)
def test_every_row_is_in_an_episode_or_counted(found):
    terminals, timeouts, _, starts = np.array(found, bool).T
    notes, count = Notes(), len(found)
    episodes = list(segment(rows(count), Flags(terminals, timeouts, None, starts), None, notes))
    assert sum(len(e) for e in episodes) + notes.counts.get("dropped_steps", 0) == count
    for episode in episodes:
        assert (np.diff(episode.obs[:-1].ravel()) == 1).all()
        np.testing.assert_array_equal(episode.actions.ravel(), episode.obs[:-1].ravel() / np.float32(10))


def test_rows_are_read_in_order_one_episode_at_a_time():
    asked = []
    source = rows(6)

    def read(start: int, stop: int) -> Rows:
        asked.append((start, stop))
        return Rows(source.obs[start:stop], source.actions[start:stop], source.rewards[start:stop])

    ends = Ends(np.array([2, 6]), np.array([True, True]), np.array([REPEATED, REPEATED], np.uint8))
    assert [len(e) for e in cut(read, ends, Notes())] == [2, 4]
    assert asked == [(0, 2), (2, 6)]


@pytest.mark.parametrize("name", sorted(SENTENCES))
def test_one_of_a_kind_is_told_in_the_singular(name):
    notes = Notes()
    notes.add(name)
    (one,) = notes.lines()
    notes.add(name)
    (two,) = notes.lines()
    assert not set("[]|") & {*one, *two}
    assert one.startswith("1 ")
    assert two.startswith("2 ")
    printed = one.partition(":")[0].split()
    assert not {"were", "are", "have", "WERE"} & set(printed), one


def test_the_sentences_of_one_and_of_many():
    notes = Notes()
    notes.add("cast_columns", 1, "'a'")
    assert notes.lines() == ["1 column was cast to the store's types (first: 'a')"]
    notes.add("cast_columns")
    assert notes.lines() == ["2 columns were cast to the store's types (first: 'a')"]
