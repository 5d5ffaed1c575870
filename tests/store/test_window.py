"""Windows: against a slow loop over every anchor, against golden numbers, and with poisoned neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from episodes import counting, every_anchor, random_episode
from slow_gather import slow_window

from trajrl import Anchors, Episode, TrajectoryStore, WindowSpec, gather
from trajrl.store.column import Column

SPECS = [
    WindowSpec(history, chunk, horizon, next_actions=True, return_gamma=0.9, merit=True)
    for history in (1, 4, 8)
    for chunk in (1, 3, 5)
    for horizon in sorted({1, chunk, 7})
]
SPEC_IDS = [f"H{spec.history}-N{spec.chunk}-n{spec.n}" for spec in SPECS]


def one(episode: int, step: int) -> Anchors:
    return Anchors(np.array([episode]), np.array([step]), np.ones(1, np.float32))


def poison(episode: Episode) -> Episode:
    """Replace every number of an episode by NaN; its ends and marks stay."""
    return Episode(
        episode.obs * np.nan,
        episode.actions * np.nan,
        episode.rewards * np.nan,
        episode.terminated,
        extras=episode.extras,
    )


def assert_equal(batch, row: int, expected: dict) -> None:
    for name, value in expected.items():
        found = getattr(batch, name)[row].numpy()
        if name in ("returns", "end_discount", "merit"):  # sums and powers, in another order
            assert found == pytest.approx(value, rel=1e-6, abs=1e-6), name
        else:
            np.testing.assert_array_equal(found, value, err_msg=name)


@pytest.mark.parametrize("marks", [False, True], ids=["ends", "marks"])
@pytest.mark.parametrize("spec", SPECS, ids=SPEC_IDS)
def test_every_anchor_equals_the_slow_loop(spec, marks):
    episodes = [random_episode(7, index, marks) for index in range(12)]
    store = TrajectoryStore.of(episodes)
    anchors = every_anchor(store)
    batch = gather(store, anchors, spec)
    for row, (e, t) in enumerate(zip(anchors.episode, anchors.step)):
        assert_equal(batch, row, slow_window(episodes[e], int(t), spec))


@pytest.mark.parametrize("marks", [False, True], ids=["ends", "marks"])
@pytest.mark.parametrize("spec", SPECS, ids=SPEC_IDS)
def test_no_row_of_another_episode_reaches_a_batch(spec, marks):
    episodes = [random_episode(3, index, marks) for index in range(5)]
    for e, clean in enumerate(episodes):
        store = TrajectoryStore.of([clean if i == e else poison(other) for i, other in enumerate(episodes)])
        anchors = Anchors(np.full(len(clean), e), np.arange(len(clean)), np.ones(len(clean), np.float32))
        batch = gather(store, anchors, spec)
        assert not any(torch.isnan(field).any() for field in batch if field is not None)
        for t in range(len(clean)):
            assert_equal(batch, t, slow_window(clean, t, spec))


def test_online_episodes_after_a_base_are_gathered_like_the_rest():
    episodes = [random_episode(5, index, True) for index in range(6)]
    whole, grown = TrajectoryStore.of(episodes), TrajectoryStore.of(episodes[:3])
    for column in (grown.obs, grown.actions, grown.rewards, *grown.extras.values()):
        column.__init__(np.array(column.slice(0, len(column))))  # as if it had been opened from a file
    gather(grown, every_anchor(grown), SPECS[-1])  # marks of the base are known before the rest arrives
    for episode in episodes[3:]:
        grown.append(episode)
    for left, right in zip(
        gather(whole, every_anchor(whole), SPECS[-1]), gather(grown, every_anchor(grown), SPECS[-1])
    ):
        assert left is right is None or torch.equal(left, right)


def test_store_kept_on_a_device_gives_the_same_windows_and_takes_new_episodes():
    episodes = [random_episode(6, index) for index in range(6)]
    whole, kept = TrajectoryStore.of(episodes), TrajectoryStore.of(episodes[:3])
    kept.keep_on("cpu")
    for episode in episodes[3:]:
        kept.append(episode)
    for left, right in zip(
        gather(whole, every_anchor(whole), SPECS[-1]), gather(kept, every_anchor(kept), SPECS[-1])
    ):
        assert left is right is None or torch.equal(left, right)


def test_what_is_kept_on_a_device_is_found_by_each_of_its_names(monkeypatch):
    column = Column(np.arange(6, dtype=np.float32))
    column.keep_on("cpu")
    monkeypatch.setattr(column, "rows", lambda index: pytest.fail("read from the host"))
    numbered = torch.device("cpu", 0)  # as a tensor on cuda says cuda:0
    column._kept_on = torch.device("cpu"), numbered
    for name in ("cpu", numbered):
        assert column.take(np.array([4, 1]), name).tolist() == [4, 1]


def test_golden_window_in_the_middle():
    store = TrajectoryStore.of([counting(3), counting(9, first=100)])
    batch = gather(store, one(1, 4), WindowSpec(history=3, chunk=2, horizon=3))
    assert batch.obs[0, :, 0].tolist() == [102, 103, 104]
    assert batch.prev_actions[0, :, 0].tolist() == pytest.approx([10.1, 10.2, 10.3])
    assert batch.actions[0, :, 0].tolist() == pytest.approx([10.4, 10.5])
    assert batch.rewards[0].tolist() == [1, 1, 1]
    assert batch.next_obs[0, :, 0].tolist() == [105, 106, 107]
    assert (batch.steps.item(), batch.terminated.item()) == (3, False)


def test_first_step_has_no_past():
    batch = gather(TrajectoryStore.of([counting(4, first=5)]), one(0, 0), WindowSpec(history=3))
    assert batch.obs[0, :, 0].tolist() == [0, 0, 5]
    assert batch.history_mask[0].tolist() == [False, False, True]
    assert batch.prev_actions[0, :, 0].tolist() == [0, 0, 0]


def test_chunk_cut_by_a_truncated_end_counts_its_steps_and_bootstraps():
    batch = gather(TrajectoryStore.of([counting(4)]), one(0, 2), WindowSpec(chunk=5))
    assert batch.steps.item() == 2
    assert batch.action_mask[0].tolist() == [True, True, False, False, False]
    assert batch.rewards[0].tolist() == [1, 1, 0, 0, 0]
    assert (batch.terminated.item(), batch.next_obs[0, 0, 0].item()) == (False, 4)


def test_terminated_end_is_terminated_only_when_the_horizon_reaches_it():
    store = TrajectoryStore.of([counting(5, terminated=True)])
    reached = [gather(store, one(0, t), WindowSpec(horizon=2)).terminated.item() for t in range(5)]
    assert reached == [False, False, False, True, True]


def test_a_mark_inside_cuts_nothing_and_takes_the_bootstrap():
    store = TrajectoryStore.of([counting(6, marks=[2])])
    batch = gather(store, every_anchor(store), WindowSpec(chunk=4))
    assert batch.steps.tolist() == [4, 4, 4, 3, 2, 1]
    assert batch.terminated.tolist() == [True, True, True, False, False, False]
    assert batch.rewards[1].tolist() == [1, 1, 1, 1]
    assert batch.actions[1, :, 0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_a_mark_beyond_the_horizon_leaves_the_bootstrap():
    store = TrajectoryStore.of([counting(6, marks=[4])])
    batch = gather(store, every_anchor(store), WindowSpec(chunk=3, horizon=2))
    assert batch.terminated.tolist() == [False, False, False, True, True, False]


def test_a_mark_at_the_end_of_a_truncated_episode_takes_the_bootstrap():
    store = TrajectoryStore.of([counting(5, marks=[4])])
    batch = gather(store, every_anchor(store), WindowSpec(chunk=3))
    assert batch.steps.tolist() == [3, 3, 3, 2, 1]
    assert batch.terminated.tolist() == [False, False, True, True, True]


def test_two_marks_in_one_window_count_once():
    store = TrajectoryStore.of([counting(7, marks=[1, 3])])
    batch = gather(store, every_anchor(store), WindowSpec(chunk=1, horizon=4))
    assert batch.steps.tolist() == [4, 4, 4, 4, 3, 2, 1]
    assert batch.terminated.tolist() == [True] * 4 + [False] * 3


def test_next_actions_pass_marks_that_lie_beyond_the_horizon():
    store = TrajectoryStore.of([counting(8, marks=[3])])
    batch = gather(store, one(0, 1), WindowSpec(chunk=4, horizon=2, next_actions=True))
    assert batch.next_actions[0, :, 0].tolist() == pytest.approx([0.3, 0.4, 0.5, 0.6])
    assert not gather(store, one(0, 2), WindowSpec(chunk=4, horizon=2, next_actions=True)).next_mask.any()


def test_cut_after_success_ends_the_window_at_its_first_mark():
    store = TrajectoryStore.of([counting(6, marks=[2, 4])])
    store.cut_after_success()
    batch = gather(store, every_anchor(store), WindowSpec(chunk=4))
    assert (batch.steps.tolist(), batch.terminated.tolist()) == ([3, 2, 1], [True] * 3)
    assert batch.rewards[0].tolist() == [1, 1, 1, 0]


def test_episode_of_one_step_is_a_window():
    batch = gather(
        TrajectoryStore.of([counting(1, terminated=True)]),
        one(0, 0),
        WindowSpec(history=8, chunk=5, horizon=7),
    )
    assert (batch.steps.item(), batch.terminated.item(), batch.next_obs[0, -1, 0].item()) == (1, True, 1)


def test_next_actions_follow_the_bootstrap_and_stop_at_the_end():
    store = TrajectoryStore.of([counting(5), counting(5, first=100)])
    batch = gather(store, one(0, 1), WindowSpec(chunk=3, next_actions=True))
    assert batch.next_actions[0, :, 0].tolist() == pytest.approx([0.4, 0, 0])
    assert batch.next_mask[0].tolist() == [True, False, False]
    assert not gather(store, one(0, 2), WindowSpec(chunk=3, next_actions=True)).next_mask.any()


def test_shaping_comes_before_masking():
    episodes = [random_episode(9, index, True) for index in range(6)]
    store = TrajectoryStore.of(episodes)
    store.set_shaping(lambda r: 2 * r - 1, lambda a: a * 4 + 3)
    spec, anchors = WindowSpec(4, 5, 7, next_actions=True), every_anchor(store)
    batch = gather(store, anchors, spec)
    for row, (e, t) in enumerate(zip(anchors.episode, anchors.step)):
        window = slow_window(episodes[e], int(t), spec, lambda a: a * 4 + 3, lambda r: 2 * r - 1)
        for name, value in window.items():
            np.testing.assert_allclose(getattr(batch, name)[row].numpy(), value, rtol=1e-6, err_msg=name)


def test_actions_are_scaled_from_their_box_and_padding_stays_zero():
    store = TrajectoryStore.of([Episode(np.zeros((3, 1)), [[0.0], [4.0]], [0, 0], False)])
    store.set_shaping(action=lambda actions: actions / 2 - 1)  # the box [0, 4] onto [-1, 1]
    batch = gather(store, one(0, 0), WindowSpec(history=2, chunk=3))
    assert batch.actions[0, :, 0].tolist() == [-1, 1, 0]
    assert batch.prev_actions[0, :, 0].tolist() == [0, 0]
    assert batch.next_prev_actions[0, :, 0].tolist() == [-1, 1]


def test_actions_are_clipped_on_request_only():
    store = TrajectoryStore.of([Episode(np.zeros((2, 1)), [[5.0]], [0], False)])
    assert gather(store, one(0, 0), WindowSpec()).actions.item() == 5
    store.set_shaping(action=lambda actions: actions.clamp(-1, 1))
    assert gather(store, one(0, 0), WindowSpec()).actions.item() == 1
    assert store.episode(0).actions.item() == 5


@pytest.mark.parametrize(
    ("anchor", "message"),
    [
        ((0, 9), "step 9 is outside episode 0 of length 9"),
        ((0, -1), "step -1 is outside"),
        ((2, 0), "episode 2"),
        ((-1, 0), "-1"),
    ],
)
def test_anchor_outside_the_store_is_named(anchor, message):
    with pytest.raises(ValueError, match=message):
        gather(TrajectoryStore.of([counting(9), counting(4)]), one(*anchor), WindowSpec())


def test_batch_does_not_share_memory_with_its_anchors():
    anchors = one(0, 1)
    batch = gather(TrajectoryStore.of([counting(3)]), anchors, WindowSpec())
    batch.weight.zero_(), batch.step.zero_(), batch.episode.add_(7)
    assert (anchors.weight[0], anchors.step[0], anchors.episode[0]) == (1, 1, 0)


def test_windows_of_size_zero_are_refused():
    with pytest.raises(ValueError, match="horizon must be at least 1; got 0"):
        WindowSpec(horizon=0)


def test_marks_replaced_after_a_gather_are_those_of_the_next():
    episode = Episode(
        np.zeros((7, 1)), np.zeros((6, 1)), np.zeros(6), False, extras={"terminal": np.arange(6) == 1}
    )
    store, anchors = TrajectoryStore.of([episode]), Anchors(np.zeros(6, int), np.arange(6), np.ones(6))
    assert gather(store, anchors, WindowSpec()).terminated.tolist() == [t == 1 for t in range(6)]
    store.relabel(np.zeros(6, np.float32), np.arange(6) == 4)
    assert gather(store, anchors, WindowSpec()).terminated.tolist() == [t == 4 for t in range(6)]
