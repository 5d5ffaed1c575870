"""AWAC: target and weighted likelihood term by term, the order of the steps, and a bandit."""

from __future__ import annotations

from math import log, pi

import torch
from flow_windows import corner, random_windows, reward_after, small

from trajrl.agents.awac import preset
from trajrl.core.rng import torch_stream


def moved_apart(**fields):
    """Return an agent whose target is not its critic."""
    agent = small("awac", **fields)
    for parameter in agent.target.parameters():
        parameter.data.mul_(1.3)
    agent.actor.head.log_std.data.fill_(-0.5)
    return agent


def sampled(agent, obs, noise):
    return (agent.actor.head.net(obs).tanh() + torch.tensor(-0.5).exp() * noise).clamp(-1, 1)


def test_the_target_is_its_formula():
    agent = moved_apart(horizon=3, gamma=0.9)
    batch = random_windows(agent.spec)
    noise, expected = agent.draw_noise(batch, torch_stream(0, "a")), 0.0
    with torch.no_grad():
        then = batch.next_obs[:, -1]
        value = agent.target.head(then, sampled(agent, then, noise.next)).min(0).values
        q = agent.critic.head(batch.obs[:, -1], batch.actions[:, 0])
        for i, k in enumerate(batch.steps.tolist()):
            y = sum(0.9**j * batch.rewards[i, j] for j in range(k))
            y = y if batch.terminated[i] else y + 0.9**k * value[i]
            expected += batch.weight[i] * (q[:, i] - y).square().sum() / len(batch.steps)
    torch.testing.assert_close(agent.critic_loss(batch, noise)[0], expected)


def test_the_policy_loss_is_its_formula_and_its_weights_are_bounded():
    agent = moved_apart(temperature=0.05, weight_max=1.2)
    batch = random_windows(agent.spec)
    noise, expected, saturated = agent.draw_noise(batch, torch_stream(0, "a")), 0.0, 0
    with torch.no_grad():
        obs, data = batch.obs[:, -1], batch.actions[:, 0]
        mean = agent.actor.head.net(obs).tanh()
        advantage = agent.critic.head(obs, data).min(0).values
        advantage -= agent.critic.head(obs, sampled(agent, obs, noise.policy)).min(0).values
        for i in range(len(data)):
            weight = float((advantage[i] / 0.05).exp())
            saturated += weight > 1.2
            z = (data[i] - mean[i]) / torch.tensor(-0.5).exp()
            density = (-0.5 * z**2 + 0.5 - 0.5 * log(2 * pi)).sum()
            expected -= batch.weight[i] * min(1.2, weight) * density / len(data)
    loss, metrics = agent.actor_loss(batch, noise)
    torch.testing.assert_close(loss, expected)
    assert 0 < saturated < len(data)
    torch.testing.assert_close(metrics["actor/saturated_share"], torch.tensor(saturated / len(data)))


def test_the_policy_learns_from_the_critics_after_their_step():
    agent, twin = moved_apart(critic_lr=1e-2), moved_apart(critic_lr=1e-2)
    batch = random_windows(agent.spec)
    noise = twin.draw_noise(batch, torch_stream(0, "a"))
    twin.critic_optimiser.step(twin.critic_loss(batch, noise)[0])
    expected = twin.actor_loss(batch, noise)[0]
    torch.testing.assert_close(agent.update(batch, torch_stream(0, "a")).metrics["actor/loss"], expected)


def test_published_settings_follow_the_task_family():
    found = [
        preset("paper", env).get("temperature") for env in ("d4rl:hopper-medium-v2", "d4rl:pen-human-v1")
    ]
    assert found == [0.3333, 0.1]
    maze = preset("paper", "d4rl:antmaze-large-play-v2")
    assert (maze["temperature"], maze["run.reward"]) == (0.1, "iql_antmaze")
    assert preset("paper", "nothing-v0") == preset("paper", "ogbench:cube-single-play-singletask-v0")


def test_the_bandit_is_learned():
    agent = small("awac", width=64, actor_lr=3e-3, critic_lr=3e-3, temperature=0.1)
    assert reward_after(agent, 0, corner, explore=False) < 0.2
    assert reward_after(agent, 300, corner, explore=False) > 0.6
