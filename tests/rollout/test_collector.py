"""The collector: episodes that depend on their number alone, failures kept apart, a state that replays."""

from __future__ import annotations

import numpy as np
import pytest
from actors import Counting

from trajrl import make_suite
from trajrl.rollout.collector import Collector, EnvFailureError, Streams, collect, in_order


def episodes(num_envs, name="sample_envs:uneven", count=9, **actor):
    collector = Collector(
        make_suite(name), Counting(1, noisy=True, **actor), Streams(3), num_envs, num_episodes=count
    )
    return list(in_order(collector))


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("num_envs", [2, 5, 20])
def test_an_episode_depends_on_its_number_alone(num_envs, chunk):
    for one, many in zip(episodes(1, chunk=chunk), episodes(num_envs, chunk=chunk), strict=True):
        assert (one.number, one.seed) == (many.number, many.seed)
        np.testing.assert_array_equal(one.episode.obs, many.episode.obs)
        np.testing.assert_array_equal(one.episode.actions, many.episode.actions)


def test_episodes_differ_from_each_other():
    seeds = {finished.seed for finished in episodes(3)}
    first = {finished.episode.actions[0, 0] for finished in episodes(3)}
    assert len(seeds) == len(first) == 9


def test_fewer_environments_are_made_than_episodes_left():
    actor = Counting(1)
    collector = Collector(make_suite("sample_envs:line"), actor, Streams(0), 10, num_episodes=3)
    assert len(collector.envs) == 3
    assert [finished.number for finished in in_order(collector)] == [0, 1, 2]


def test_environments_without_an_episode_rest():
    actor = Counting(1)
    collector = Collector(make_suite("sample_envs:uneven"), actor, Streams(0), 3, num_episodes=3)
    lengths = sorted(len(finished.episode) for finished in in_order(collector))
    assert actor.calls == [sum(length > step for length in lengths) for step in range(lengths[-1])]


def test_a_time_limit_is_no_termination():
    limited = episodes(1, "sample_envs:limited", 1)[0].episode
    ended = episodes(1, "sample_envs:line", 1)[0].episode
    assert (len(limited), limited.terminated) == (3, False)
    assert (len(ended), ended.terminated) == (5, True)


def test_success_in_passing_counts():
    assert all(finished.episode.success for finished in episodes(2))


def test_no_word_of_success_is_not_a_failure():
    collector = Collector(make_suite("Pendulum-v1", time_limit=3), Counting(1), Streams(0), 1, num_episodes=1)
    assert next(in_order(collector)).episode.success is None


def test_a_chunk_is_executed_open_loop_and_dropped_at_the_end():
    actor = Counting(1, chunk=4)
    collector = Collector(make_suite("sample_envs:line"), actor, Streams(0), 1, num_episodes=2)
    found = [finished.episode.actions[:, 0] for finished in in_order(collector)]
    np.testing.assert_allclose(found, np.tile(np.arange(5) / 100, (2, 1)))
    assert actor.calls == [1, 1, 1, 1]


def test_entries_of_info_are_kept_as_they_were_before_the_step():
    suite = make_suite("sample_envs:line")
    suite.records = ("mark",)
    collector = Collector(suite, Counting(1), Streams(0), 1, num_episodes=1)
    collector.envs[0].reset = with_mark(collector.envs[0].reset)
    assert next(in_order(collector)).episode.extras["mark"][:, 0].tolist() == [0, 1, 2, 3, 4]


def with_mark(reset):
    return lambda **options: (reset(**options)[0], {"mark": np.array([0])})


def test_an_environment_that_breaks_is_replaced_and_the_others_go_on():
    found = episodes(4, "sample_envs:breaking", 12)
    kinds = {finished.seed % 97 % 3: finished for finished in found}
    assert set(kinds) == {0, 1, 2}
    assert [finished.number for finished in found] == list(range(12))
    assert kinds[2].failure is None
    assert "RuntimeError: the arm is stuck" in str(kinds[0].failure)
    assert "not finite" in str(kinds[1].failure)
    assert len(kinds[0].episode) == len(kinds[1].episode) == 1  # what was recorded before
    assert kinds[0].failure.step == 1


def test_a_whole_episode_is_the_same_whether_its_neighbours_break():
    for one, many in zip(
        episodes(1, "sample_envs:breaking"), episodes(4, "sample_envs:breaking"), strict=True
    ):
        np.testing.assert_array_equal(one.episode.actions, many.episode.actions)
        assert (one.failure is None) == (many.failure is None)


def test_collect_raises_what_broke():
    suite = make_suite("sample_envs:breaking")
    with pytest.raises(EnvFailureError, match="failed at step 1"):
        list(zip(range(9), collect(suite, Counting(1), Streams(3), 2, "x")))


def test_what_a_simulator_says_in_several_lines_is_told_in_one():
    assert str(EnvFailureError(0, 2, 5, "OSError: not\n  powered")).endswith(": OSError: not powered")


@pytest.mark.parametrize("steps", [0, 1, 7, 30])
@pytest.mark.parametrize("name", ["sample_envs:uneven", "toy:rooms", "Hopper-v4"])
def test_a_collector_that_was_saved_goes_on_as_if_it_had_not_been(name, steps):
    suite = make_suite(name)
    whole, cut, again = (
        Collector(suite, Counting(suite.action_dim, history=2, chunk=3, noisy=True), Streams(5), 3)
        for _ in range(3)
    )
    for _ in range(steps):
        whole.step(explore=True)
        cut.step(explore=True)
    again.load_state_dict(cut.state_dict())
    for _ in range(40):
        for left, right in zip(whole.step(), again.step(), strict=True):
            assert (left.number, left.row, left.seed) == (right.number, right.row, right.seed)
            np.testing.assert_array_equal(left.episode.obs, right.episode.obs)
            np.testing.assert_array_equal(left.episode.actions, right.episode.actions)
    np.testing.assert_array_equal(whole.queues.history.obs, again.queues.history.obs)
    np.testing.assert_array_equal(whole.queues.history.prev_actions, again.queues.history.prev_actions)


def test_a_replay_that_takes_another_course_is_noticed():
    collector = Collector(make_suite("sample_envs:forgetful"), Counting(1), Streams(0), 1)
    for _ in range(10):
        collector.step()
    again = Collector(make_suite("sample_envs:forgetful"), Counting(1), Streams(0), 1)
    for _ in range(8):
        again.envs[0].reset()
    with pytest.raises(EnvFailureError, match="not deterministic"):
        again.load_state_dict(collector.state_dict())


def test_another_actor_may_stand_in():
    collector = Collector(make_suite("sample_envs:line"), Counting(1), Streams(0), 2)
    stand_in = Counting(1)
    collector.step(actor=stand_in)
    collector.step()
    assert stand_in.calls == collector.actor.calls == [2]


def test_the_saved_state_is_plain():
    collector = Collector(make_suite("toy:rooms"), Counting(2, chunk=4), Streams(0), 2)
    collector.step()
    state = collector.state_dict()
    assert state["next_episode"] == 2
    assert state["open"][1]["actions"].shape == (1, 2)
    assert state["open"][1]["queued"].shape == (3, 2)


def test_an_episode_that_seems_to_have_no_end_is_told_of_once(monkeypatch, capsys):
    monkeypatch.setattr("trajrl.rollout.collector.LONG", 3)
    episodes(1, "sample_envs:line", 1)
    said = "episode 0 of sample_envs:line has not ended after 3 steps"
    assert capsys.readouterr().out == f"{said}; --set env.time_limit=N ends each episode there\n"
