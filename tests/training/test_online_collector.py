"""Acting online: episodes that break off, environments that do not repeat themselves, units of actions."""

import numpy as np
import pytest
from actors import Counting

from trajrl.envs import make_suite
from trajrl.store.episode import Episode
from trajrl.store.journal import replay
from trajrl.store.store import TrajectoryStore
from trajrl.training.action_units import action_units
from trajrl.training.config import RunConfig
from trajrl.training.online_collector import OnlineCollector


def as_they_are(actions):
    return actions


def data() -> TrajectoryStore:
    """Return a store with one offline episode of the sample environments' shape."""
    return TrajectoryStore.of([Episode(np.zeros((4, 2)), np.zeros((3, 1)), np.ones(3), True, source="old")])


def acting(folder, name, envs=1, recorded=as_they_are, env_timeout=0.0, **fields):
    """Return an online collector with a sample environment."""
    config = RunConfig(phase="online", envs=envs, **fields)
    suite = make_suite(f"sample_envs:{name}", env_timeout=env_timeout)
    return OnlineCollector(folder, suite, Counting(1), data(), config, recorded)


def take(collector, steps):
    for _ in range(steps):
        if collector.gave_up:
            break
        collector.step(collector.rollout.actor)


def on_disk(folder) -> list[dict]:
    return [meta for _, meta in replay(folder / "journal" / "episodes.journal")]


@pytest.mark.parametrize("envs", [1, 3])
def test_a_broken_episode_is_marked_and_kept_out_of_training(tmp_path, envs):
    collector = acting(tmp_path, "breaking", envs, max_failures=100)
    take(collector, 60)
    table = collector.store.table
    broken = np.flatnonzero(table.broken)
    assert len(broken) == collector.failures > 2
    assert not table.alive[broken].any()
    assert table.alive[~table.broken].all()
    assert len(collector.store.live) > 3
    said = [meta["broken"] for meta in on_disk(tmp_path)]
    assert [bool(text) for text in said] == table.broken[1:].tolist()
    assert any("the arm is stuck" in text for text in said)
    collector.close()


def test_an_environment_that_would_leave_the_process_is_replaced(tmp_path):
    collector = acting(tmp_path, "leaving", max_failures=2)
    take(collector, 50)
    assert "failed at step 1 of episode 1: SystemExit: 3" in collector.stop_reason
    collector.close()


def test_after_too_many_failures_it_gives_up_and_says_why(tmp_path, capsys):
    collector = acting(tmp_path, "breaking", max_failures=3)
    take(collector, 500)
    assert collector.failures == 3
    assert collector.stop_reason.startswith("3 environments failed, the last so: environment 0 failed")
    assert "its environment was started again (3 so far)" in capsys.readouterr().out
    collector.close()


def test_an_environment_that_cannot_be_built_again_counts_until_the_run_gives_up(tmp_path):
    collector = acting(tmp_path, "once", max_failures=3)
    take(collector, 50)
    assert collector.gave_up
    assert "could not be built again (sample_envs:once cannot be made: OSError" in collector.stop_reason
    assert len(on_disk(tmp_path)) == 1
    collector.close()


def test_a_hanging_or_dying_environment_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(__import__("pathlib").Path(__file__).parent))
    collector = acting(tmp_path, "hanging", env_timeout=0.5, max_failures=2)
    take(collector, 200)
    assert collector.gave_up
    reasons = [meta["broken"] for meta in on_disk(tmp_path) if meta["broken"]]
    assert len(reasons) == 2
    assert all("did not answer within" in text or "ended by itself" in text for text in reasons)
    collector.close()


def test_what_an_environment_does_not_repeat_is_adopted(tmp_path, monkeypatch, capsys):
    import sample_envs

    monkeypatch.setattr(sample_envs.Forgetful, "resets", 0)
    first = acting(tmp_path, "forgetful")
    state = first.state_dict()
    take(first, 420)
    episodes = first.kept
    assert episodes >= 8
    first.close()
    again = acting(tmp_path, "forgetful")
    again.load_state_dict(state)
    assert len(again.unknown) == episodes
    take(again, 4)  # its episodes are short now: the first that ends is not the first of the journal
    assert not again.repeatable
    assert len(again.store) == 1 + episodes + 1
    assert len(on_disk(tmp_path)) == episodes + 1
    assert again.env_step >= on_disk(tmp_path)[episodes - 1]["env_step"]
    assert (
        f"{episodes} episodes written after the checkpoint are taken as they are" in capsys.readouterr().out
    )
    again.close()


def test_an_open_episode_that_cannot_be_replayed_is_given_up(tmp_path, monkeypatch, capsys):
    import sample_envs

    monkeypatch.setattr(sample_envs.Forgetful, "resets", 0)
    first = acting(tmp_path, "forgetful")
    take(first, 30)
    state = first.state_dict()
    first.close()
    monkeypatch.setattr(sample_envs.Forgetful, "resets", 50)  # three steps per episode from now on
    again = acting(tmp_path, "forgetful")
    again.load_state_dict(state)
    assert not again.repeatable
    assert again.rollout.open == [None]
    assert again.env_step == 30
    assert "the open episodes are lost" in capsys.readouterr().out
    again.close()


def test_an_open_episode_that_looks_different_is_given_up(tmp_path):
    first = acting(tmp_path, "uneven")
    take(first, 2)
    state = first.state_dict()
    state["seen"] = ["another digest"]
    first.close()
    again = acting(tmp_path, "uneven")
    again.load_state_dict(state)
    assert again.rollout.open == [None]
    again.close()


def test_a_journal_that_lost_episodes_is_refused(tmp_path):
    first = acting(tmp_path, "uneven")
    take(first, 40)
    state = first.state_dict()
    first.close()
    (tmp_path / "journal" / "episodes.journal").unlink()
    with pytest.raises(ValueError, match=r"lacks episodes: the checkpoint was written with \d+ of them"):
        acting(tmp_path, "uneven").load_state_dict(state)


def test_terminations_and_time_limits_are_kept_apart(tmp_path):
    ended, cut = acting(tmp_path / "a", "line"), acting(tmp_path / "b", "limited")
    take(ended, 5)
    take(cut, 5)
    assert ended.store.table.terminated.tolist() == [True, True]
    assert cut.store.table.terminated.tolist() == [True, False]
    assert ended.store.table.success.tolist() == [-1, 1]  # the environment's own word, at step 2
    ended.close()
    cut.close()


def test_actions_are_stored_in_the_units_of_the_store(tmp_path):
    store = data()
    store.attributes.update(action_low=np.array([-2.0]), action_high=np.array([4.0]))
    recorded = action_units(store, "scale", None).data.from_unit
    collector = acting(tmp_path, "line", recorded=recorded)
    take(collector, 5)
    stored = collector.store.episode(1).actions[:, 0]
    np.testing.assert_allclose(stored, 1 + 3 * np.arange(5) / 100, rtol=1e-6)
    collector.close()


def test_a_buffer_hides_the_oldest_episodes_and_a_resume_hides_the_same(tmp_path):
    collector = acting(tmp_path, "uneven", buffer=12)
    take(collector, 60)
    table = collector.store.table
    live = collector.store.live
    assert collector.store.num_steps <= 12
    assert live[-1] == len(table) - 1
    assert (np.diff(live) == 1).all(), "an episode in the middle is gone, not the oldest"
    before = int(live[0]) - 1
    assert collector.store.num_steps + int(table.length[before]) > 12, "one more would have fitted"
    assert before > 0, "not even one new episode has given way"
    assert len(on_disk(tmp_path)) == collector.kept
    state = collector.state_dict()
    collector.close()
    again = acting(tmp_path, "uneven", buffer=12)
    again.load_state_dict(state)
    assert again.store.live.tolist() == live.tolist()
    again.close()


def test_an_episode_longer_than_the_buffer_is_drawn_from(tmp_path):
    collector = acting(tmp_path, "uneven", buffer=1)
    take(collector, 30)
    assert len(collector.store.live) == 1
    collector.close()
