"""SAC: the soft target, the actor and the temperature against torch's distributions, and a bandit."""

from __future__ import annotations

import pytest
import torch
from flow_windows import (
    ACT,
    OBS,
    at_anchor,
    corner,
    generators,
    poisoned,
    random_windows,
    reward_after,
    small,
)  # fmt: skip
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from trajrl.agents import make_agent, make_config
from trajrl.core.rng import torch_stream


def policy_at(agent, obs, noise):
    """Return actions (B, act) and torch's log density of them (B,)."""
    mean, log_std = agent.actor.head(obs)
    action = (mean + log_std.exp() * noise).tanh()
    law = TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform(cache_size=1))
    return action, law.log_prob(action).sum(-1)


@pytest.mark.parametrize("horizon", [1, 4])
def test_target_is_soft_and_stops_at_terminations(horizon):
    agent = small("sac", horizon=horizon, temperature=0.3, gamma=0.9)
    for parameter in agent.target.parameters():
        parameter.data.mul_(1.1)
    batch = random_windows(agent.spec)
    noise = agent.draw_noise(batch, torch_stream(0, "a"))
    with torch.no_grad():
        action, log_pi = policy_at(agent, batch.next_obs[:, -1], noise.next)
        q = agent.target.head(batch.next_obs[:, -1], action)
        value = torch.minimum(q[0], q[1]) - 0.3 * log_pi
        expected, errors = 0.0, []
        for i, k in enumerate(batch.steps.tolist()):
            y = sum(0.9**j * batch.rewards[i, j] for j in range(k))
            y = y if batch.terminated[i] else y + 0.9**k * value[i]
            td = agent.critic.head(batch.obs[i, -1:], batch.actions[i])[:, 0] - y
            expected += batch.weight[i] * td.square().sum() / len(batch.steps)
            errors.append(td.abs().mean())
    assert batch.terminated.any()
    loss, td_error, _ = agent.critic_loss(batch, noise)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(td_error, torch.stack(errors), rtol=1e-4, atol=1e-5)


def test_actor_and_temperature_losses_are_their_formulas():
    agent = small("sac", temperature=0.4)
    batch = random_windows(agent.spec)
    noise = agent.draw_noise(batch, torch_stream(0, "a"))
    with torch.no_grad():
        action, log_pi = policy_at(agent, batch.obs[:, -1], noise.policy)
        q = agent.critic.head(batch.obs[:, -1], action)
        actor = (batch.weight * (0.4 * log_pi - torch.minimum(q[0], q[1]))).mean()
        temperature = 0.4 * (batch.weight * (-log_pi + ACT)).mean()  # the goal is -1 per dimension
    loss, temp_loss, _ = agent.actor_loss(batch, noise)
    torch.testing.assert_close(loss, actor, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(temp_loss, temperature, rtol=1e-4, atol=1e-5)


def test_each_optimiser_moves_its_own_weights_alone():
    agent = small("sac", critic_lr=0.0, tau=0.0)
    critic = [p.clone() for p in agent.critic.parameters()]
    actor = [p.clone() for p in agent.actor.parameters()]
    agent.update(random_windows(agent.spec), torch_stream(0, "a"))
    assert all(torch.equal(new, old) for new, old in zip(agent.critic.parameters(), critic))
    assert not any(torch.equal(new, old) for new, old in zip(agent.actor.parameters(), actor))
    assert agent.temperature().item() != 1


def test_padding_is_never_read():
    fields = {"horizon": 4, "history": 3, "gru_width": 8}
    agent, other = small("sac", **fields), small("sac", **fields)
    batch = random_windows(agent.spec)
    clean = agent.update(batch, torch_stream(0, "a"))
    dirty = other.update(poisoned(batch), torch_stream(0, "a"))
    torch.testing.assert_close(clean, dirty, rtol=0, atol=0)


def test_exploring_samples_and_evaluating_takes_the_mean():
    agent = small("sac")
    history = at_anchor(random_windows(agent.spec), 4)
    greedy = agent.act(history, generators(4), explore=False)
    torch.testing.assert_close(greedy[:, 0], agent.actor.head(history.obs[:, -1])[0].tanh())
    assert torch.equal(greedy, agent.act(history, generators(4, seed=1), explore=False))
    assert not torch.equal(greedy, agent.act(history, generators(4), explore=True))


def test_fields_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="temperature must be above 0"):
        make_config("sac", temperature=-1.0)
    with pytest.raises(ValueError, match="horizon must be at least 1"):
        make_config("sac", horizon=0)


def test_the_bandit_is_learned():
    rates = {"actor_lr": 3e-3, "critic_lr": 3e-3, "temperature": 0.05}
    agent = make_agent("sac", OBS, ACT, seed=0, width=64, **rates)
    assert reward_after(agent, 250, corner, explore=False) > 0.8
