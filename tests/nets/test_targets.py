"""Returns and targets against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trajrl.nets.targets import (
    copy_of,
    follow,
    masked_mean,
    masked_return,
    pooled,
    quantile_loss,
    td_target,
)

REWARDS = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, float("nan")], [1.0, 2.0, float("nan")]])
MASK = torch.tensor([[True, True, True], [True, True, False], [True, True, False]])
STEPS, TERMINATED = torch.tensor([3, 2, 2]), torch.tensor([False, False, True])


def test_targets_have_their_golden_values() -> None:
    """Gamma .9, rewards 1 2 3, next value 10: a full horizon, one that was cut, one that terminated."""
    target = td_target(REWARDS, MASK, STEPS, TERMINATED, torch.full((3,), 10.0), 0.9)
    assert target.tolist() == pytest.approx([12.52, 10.9, 2.8])


def test_no_value_passes_a_termination() -> None:
    target = td_target(REWARDS, MASK, STEPS, TERMINATED, torch.tensor([0.0, 0.0, float("nan")]), 0.9)
    assert target.tolist() == pytest.approx([1 + 1.8 + 2.43, 2.8, 2.8])


def test_a_horizon_of_one_is_the_one_step_target_to_the_bit() -> None:
    reward, value = torch.tensor([0.3, -1.7]), torch.tensor([2.9, 0.1])
    found = td_target(
        reward[:, None], torch.ones(2, 1, dtype=torch.bool), torch.ones(2, dtype=torch.int64),
        torch.tensor([False, True]), value, 0.99,
    )  # fmt: skip
    assert torch.equal(found, torch.stack((reward[0] + 0.99 * value[0], reward[1])))


def test_long_horizons_are_discounted_sums() -> None:
    rewards = torch.linspace(-1, 1, 60)[None]
    expected = sum(0.97**j * rewards[0, j].item() for j in range(60))
    mask = torch.ones(1, 60, dtype=torch.bool)
    assert masked_return(rewards, mask, 0.97).item() == pytest.approx(expected, abs=1e-5)


def test_masked_mean_divides_by_valid_entries_and_counts_weight_zero() -> None:
    values, mask = (
        torch.tensor([[1.0, float("nan")], [3.0, 5.0]]),
        torch.tensor([[True, False], [True, True]]),
    )
    assert masked_mean(values, mask).item() == 3
    weight = torch.tensor([[0.0], [2.0]])
    assert masked_mean(values, mask, weight).item() == pytest.approx((0 + 6 + 10) / 3)
    assert masked_mean(values, torch.zeros(2, 2, dtype=torch.bool)).item() == 0


def test_masked_mean_over_everything_is_the_mean_to_the_bit() -> None:
    values = torch.linspace(-3, 7, 256)
    assert torch.equal(masked_mean(values, torch.ones(256, dtype=torch.bool), torch.ones(256)), values.mean())


def test_targets_follow_slowly_and_a_copy_does_not_learn() -> None:
    net = nn.Linear(2, 1)
    target = copy_of(net)
    assert not any(p.requires_grad for p in target.parameters())
    before = target.weight.clone()
    with torch.no_grad():
        net.weight += 1
    follow(target.parameters(), net.parameters(), 0.25)
    torch.testing.assert_close(target.weight, before + 0.25)
    follow(target.parameters(), net.parameters(), 1.0)
    assert torch.equal(target.weight, net.weight)


def test_an_ensemble_is_pooled_by_mean_least_or_lower_bound() -> None:
    q = torch.tensor([[1.0, 4.0], [3.0, 4.0]])
    assert pooled(q, "mean", 2.0).tolist() == [2.0, 4.0]
    assert pooled(q, "min", 2.0).tolist() == [1.0, 4.0]
    assert pooled(q, "lower", 2.0).tolist() == pytest.approx([2.0 - 2.0 * 2**0.5, 4.0])


def test_a_quantile_is_where_its_loss_is_least() -> None:
    values, goals = torch.arange(101.0), torch.arange(101.0)[:, None]
    losses = quantile_loss(values - goals, 0.9).sum(1)  # of every goal
    assert int(losses.argmin()) == 90
