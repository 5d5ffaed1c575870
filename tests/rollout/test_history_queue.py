"""History and chunk queues: what an actor is shown when it acts is what a window shows in training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from actors import Constant, Counting

from trajrl import Anchors, TrajectoryStore, WindowSpec, gather, make_suite
from trajrl.rollout.collector import Collector, Streams
from trajrl.rollout.history_queue import Queues


@pytest.mark.parametrize("history", [1, 3, 8])
def test_a_queue_shows_what_gather_shows(history):
    actor = Counting(1, history=history, noisy=True)
    collector = Collector(make_suite("sample_envs:uneven"), actor, Streams(0), 1, num_episodes=4)
    store = TrajectoryStore()
    while not collector.done:
        for finished in collector.step():
            store.append(finished.episode)
    lengths = store.table.length
    episode = np.repeat(np.arange(4), lengths)
    step = np.concatenate([np.arange(length) for length in lengths])
    batch = gather(store, Anchors(episode, step, np.ones(len(step))), WindowSpec(history=history))
    for name, windows in (
        ("obs", batch.obs),
        ("prev_actions", batch.prev_actions),
        ("mask", batch.history_mask),
    ):
        shown = torch.cat([getattr(seen, name) for seen in actor.seen])
        assert torch.equal(shown, windows), name


def test_an_actor_is_asked_only_when_its_chunk_is_used_up():
    actor = Counting(1, chunk=3)
    queues = Queues(actor, 2)
    rng = [torch.Generator()] * 2
    obs = [np.array([[t, 0.0], [t, 1.0]], np.float32) for t in range(7)]
    acted = np.stack([queues.act(seen, rng)[:, 0] for seen in obs])
    assert actor.calls == [2, 2, 2]
    np.testing.assert_allclose(acted[:, 0], np.arange(7) / 100)


def test_a_reset_drops_the_rest_of_the_chunk_and_the_history_of_one_row_alone():
    actor = Counting(1, history=2, chunk=3)
    queues = Queues(actor, 2)
    queues.act(np.array([[0, 0], [0, 1]], np.float32), [torch.Generator()] * 2)
    queues.reset(1)
    queues.act(np.array([[1, 0], [50, 1]], np.float32), [torch.Generator()] * 2)
    assert actor.calls == [2, 1]
    last = actor.seen[-1]
    assert last.mask.tolist() == [[False, True]]
    assert last.obs[0, :, 0].tolist() == [0, 50]
    assert not last.prev_actions.any()


@pytest.mark.parametrize(("value", "words"), [(1.5, "1.5 in size"), (float("nan"), "NaN")])
def test_an_action_outside_the_box_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        Queues(Constant(1, value), 1).act(np.zeros((1, 2), np.float32), [torch.Generator()])


def test_rounding_past_the_box_is_cut():
    assert Queues(Constant(1, 1 + 1e-6), 1).act(np.zeros((1, 2), np.float32), [torch.Generator()]) == 1
