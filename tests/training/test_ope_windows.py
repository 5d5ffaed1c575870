"""Windows for policy evaluation: what is of the policy, what is of the data, and where a return is cut."""

import numpy as np
import pytest
import torch
from episodes import counting

from trajrl.store.gather import gather
from trajrl.store.store import TrajectoryStore
from trajrl.store.window import Anchors, WindowSpec
from trajrl.training.ope.windows import context, here_of, policy_windows, start, steps_of, whole_windows


class Like:
    """Acts as the data of `counting` does, a = step / 10, until a step from which on it adds 0.5."""

    device, action_dim = torch.device("cpu"), 1

    def __init__(self, history=1, chunk=1, leaves=99):
        self.spec, self.leaves = WindowSpec(history, chunk), leaves

    def act(self, history, rng, explore):
        step = history.obs[:, -1] + torch.arange(self.spec.chunk)  # (V, N)
        return (step / 10 + 0.5 * (step >= self.leaves))[..., None]


def all_steps(store, chunk=1):
    return whole_windows(store, steps_of(store, np.arange(len(store)), 999, 0), chunk)


def test_one_reward_and_the_policy_s_own_action_at_the_bootstrap():
    store = TrajectoryStore.of([counting(4, terminated=True)])
    found = policy_windows(store, all_steps(store), Like(leaves=2), 0.5)
    assert found.rewards.tolist() == [1, 1, 1, 1]
    assert found.discount.tolist() == [0.5, 0.5, 0.5, 0]
    assert found.next_actions[:3, 0].tolist() == pytest.approx([0.1, 0.7, 0.8])


def test_a_longer_horizon_ends_where_the_data_leaves_the_policy():
    store = TrajectoryStore.of([counting(6, terminated=False)])
    found = policy_windows(store, all_steps(store), Like(leaves=3), 0.5, horizon=4)
    # From step 0 the data's actions of steps 1 and 2 are the policy's own, that of step 3 is not.
    assert found.rewards.tolist() == [1.75, 1.5, 1, 1, 1, 1]
    assert found.discount.tolist() == [0.125, 0.25, 0.5, 0.5, 0.5, 0.5]


def test_a_chunked_policy_with_history_takes_whole_chunks():
    store = TrajectoryStore.of([counting(6, terminated=False)])
    actor = Like(history=2, chunk=2, leaves=4)
    found = policy_windows(store, all_steps(store, 2), actor, 0.5, horizon=5)
    # Step 5 has no whole chunk.  From 0: chunk 2, 3 is the policy's own, chunk 4, 5 is not.
    assert found.rewards.tolist() == [1.875, 1.5, 1.5, 1.5, 1.5]
    assert found.discount.tolist() == [0.0625, 0.25, 0.25, 0.25, 0.25]
    assert found.next_actions[0].tolist() == pytest.approx([0.9, 1.0])
    assert found.obs.shape == (5, 2 * 1 + 2 * 1 + 2)


@pytest.mark.parametrize("horizon", [0, 4])
def test_how_far_a_policy_is_from_the_data_at_the_bootstrap(horizon):
    store = TrajectoryStore.of([counting(6, terminated=False)])
    found = policy_windows(store, all_steps(store), Like(leaves=3), 0.5, horizon=horizon)
    near = [0, 0, 0.25, 0.25, 0.25] if not horizon else [0.25] * 5
    assert found.apart[:5].tolist() == pytest.approx(near, abs=1e-6)
    assert found.apart[5].isnan()  # the recording ends there


def test_how_far_a_chunk_is_from_the_data_is_the_mean_of_its_recorded_steps():
    store = TrajectoryStore.of([counting(5, terminated=False)])
    found = policy_windows(store, all_steps(store, 2), Like(history=2, chunk=2, leaves=3), 0.5)
    # Step 2 is the data's own, from step 3 on it is 0.5 away; of the chunk at step 4 only that is recorded.
    assert found.apart[:3].tolist() == pytest.approx([0.125, 0.25, 0.25], abs=1e-6)
    assert found.apart[3].isnan()


def test_a_chunk_that_the_end_cut_short_stays_and_one_that_the_recording_did_is_left_out():
    store = TrajectoryStore.of([counting(3, terminated=True), counting(3, terminated=False)])
    anchors = all_steps(store, 2)
    assert list(zip(anchors.episode, anchors.step)) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    found = policy_windows(store, anchors, Like(chunk=2), 0.5)
    assert found.discount.tolist() == [0.25, 0, 0, 0.25, 0.25]


def test_a_drawn_share_of_the_steps_is_drawn_once_each():
    store = TrajectoryStore.of([counting(30), counting(50)])
    found = steps_of(store, np.array([0, 1]), 40, 0)
    assert len({*zip(found.episode, found.step)}) == 40
    assert (found.step < np.where(found.episode == 0, 30, 50)).all()


def test_the_start_is_the_first_observation_and_the_policy_s_action_there():
    store = TrajectoryStore.of([counting(3, first=1), counting(5, first=2)])
    found = start(store, np.array([0, 1]), Like(history=3), 0)
    assert found.actions[:, 0].tolist() == pytest.approx([0.1, 0.2])
    assert found.obs[:, -3:].tolist() == [[0, 0, 1], [0, 0, 1]]  # the mask: nothing came before


def test_masked_history_is_zero_in_what_networks_see():
    store = TrajectoryStore.of([counting(5, first=7)])
    batch = gather(store, Anchors(np.array([0]), np.array([1]), np.ones(1, np.float32)), WindowSpec(4))
    assert context(store, here_of(batch))[0, :2].tolist() == [0, 0]
