"""trajectory_ql with an expectile: values of the data's own actions, the policy left out of the target."""

import pytest
import torch
from flow_windows import at_anchor, random_windows, small, weights_of

from trajrl.core.rng import torch_stream


def agent(**fields):
    return small("trajectory_ql", history=3, gru_width=8, horizon=4, diffusion_steps=3, **fields)


def test_the_baseline_loss_is_the_expectile_by_hand():
    one = agent(expectile=0.7)
    batch = random_windows(one.spec, rows=16)
    loss, _ = one.baseline_loss(batch)
    total = 0.0
    for row in range(16):
        obs, action = batch.obs[row : row + 1, -1], batch.actions[row : row + 1, 0]
        q = one.target.head(obs, action).min()
        u = float((q - one.baseline(obs)[0, 0]).detach())
        total += float(batch.weight[row]) * abs(0.7 - (u < 0)) * u**2
    assert float(loss.detach()) == pytest.approx(total / 16, rel=1e-5)


def test_the_policy_plays_no_part_in_the_target():
    one = agent(expectile=0.7)
    batch = random_windows(one.spec)
    noise = one.draw_noise(batch, torch_stream(0, "agent", 1))
    poisoned = noise._replace(next=torch.full_like(noise.next, torch.nan))
    assert torch.equal(one.critic_loss(batch, noise)[0], one.critic_loss(batch, poisoned)[0])


def test_the_target_bootstraps_from_the_baseline():
    one = agent(expectile=0.7)
    batch = random_windows(one.spec)
    with torch.no_grad():
        for parameter in one.baseline.parameters():
            parameter.zero_()
        one.baseline.layers[-1].bias.fill_(10.0)
    metrics = one.critic_loss(batch, one.draw_noise(batch, torch_stream(0, "agent", 1)))[2]
    back = torch.where(batch.terminated, 0.0, 10.0 * 0.99**batch.steps)
    returns = (batch.rewards * 0.99 ** torch.arange(4.0)).sum(1)
    assert float(metrics["critic/target_mean"]) == pytest.approx(float((returns + back).mean()), rel=1e-5)


def test_the_baseline_learns_from_its_own_loss_alone():
    one = agent(expectile=0.7)
    batch = random_windows(one.spec)
    before = weights_of(one)
    one.baseline_optimiser.step(one.baseline_loss(batch)[0])
    after = weights_of(one)
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"baseline"}


def test_a_high_expectile_sees_the_better_actions():
    values = {}
    for expectile in (0.5, 0.95):
        one = agent(expectile=expectile, critic_lr=3e-3)
        batch = random_windows(one.spec, rows=64)
        for _ in range(300):
            one.baseline_optimiser.step(one.baseline_loss(batch)[0])
        values[expectile] = one.baseline(at_anchor(batch).obs[:, -1]).mean().item()
    assert values[0.95] > values[0.5]


def test_expectile_and_beta_exclude_each_other():
    with pytest.raises(ValueError, match="one of them"):
        agent(expectile=0.7, beta=0.5)
    with pytest.raises(ValueError, match="below 1"):
        agent(expectile=1.0)


def test_without_a_weight_the_chain_is_never_sampled():
    one = agent(expectile=0.7, eta=0.0)
    batch = random_windows(one.spec)
    noise = one.draw_noise(batch, torch_stream(0, "agent", 1))
    poisoned = noise._replace(policy=torch.full_like(noise.policy, torch.nan))
    assert torch.equal(one.actor_loss(batch, noise)[0], one.actor_loss(batch, poisoned)[0])
