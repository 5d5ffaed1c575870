"""IFQL: the three losses term by term, from networks before any step, and the best of several samples."""

from __future__ import annotations

import torch
from flow_windows import ACT, at_anchor, corner, generators, random_windows, reward_after, small

from trajrl.agents import make_config
from trajrl.agents.base.learner import draw_rows
from trajrl.agents.ifql import preset
from trajrl.core.rng import torch_stream


def moved_apart(**fields):
    """Return an agent whose target is not its critic."""
    agent = small("ifql", **fields)
    for parameter in agent.target.parameters():
        parameter.data.mul_(1.3)
    return agent


def test_value_and_critic_losses_are_their_formulas():
    agent = moved_apart(horizon=3, gamma=0.9, expectile=0.9)
    batch = random_windows(agent.spec)
    with torch.no_grad():
        u = agent.target.head(batch.obs[:, -1], batch.actions[:, 0]).min(0).values
        u = u - agent.state_value.head(batch.obs[:, -1])[:, 0]
        then = agent.state_value.head(batch.next_obs[:, -1])[:, 0]
        q, value, critic = agent.critic.head(batch.obs[:, -1], batch.actions[:, 0]), 0.0, 0.0
        for i, k in enumerate(batch.steps.tolist()):
            value += batch.weight[i] * (0.9 if u[i] >= 0 else 0.1) * u[i] ** 2 / len(u)
            y = sum(0.9**j * batch.rewards[i, j] for j in range(k))
            y = y if batch.terminated[i] else y + 0.9**k * then[i]
            critic += batch.weight[i] * (q[:, i] - y).square().sum() / len(u)
    torch.testing.assert_close(agent.value_loss(batch)[0], value)
    torch.testing.assert_close(agent.critic_loss(batch)[0], critic)


def test_the_flow_loss_is_its_formula():
    agent = moved_apart()
    batch = random_windows(agent.spec)
    noise = agent.draw_noise(batch, torch_stream(0, "a"))
    with torch.no_grad():
        action = batch.actions[:, 0]
        point = (1 - noise.time) * noise.flow + noise.time * action
        error = agent.actor.head(batch.obs[:, -1], point, noise.time) - (action - noise.flow)
        expected = (batch.weight[:, None] * error.square()).mean()
    torch.testing.assert_close(agent.actor_loss(batch, noise)[0], expected)


def test_all_losses_see_the_networks_of_before_the_update():
    agent, twin = moved_apart(critic_lr=1e-2), moved_apart(critic_lr=1e-2)
    batch = random_windows(agent.spec)
    expected = twin.value_loss(batch)[0], twin.critic_loss(batch)[0]
    metrics = agent.update(batch, torch_stream(0, "a")).metrics
    torch.testing.assert_close((metrics["value/loss"], metrics["critic/loss"]), expected)


def test_the_sample_of_highest_value_acts():
    agent = moved_apart(samples=6, flow_steps=4)
    history = at_anchor(random_windows(agent.spec), 5)
    acted = agent.act(history, generators(5), explore=False)
    noise = draw_rows(generators(5), 6, ACT, device=torch.device("cpu"))
    for row in range(5):
        obs = history.obs[row, -1].expand(6, -1)
        with torch.no_grad():
            tried = agent.actor.head.sample(obs, noise[row], 4)
            best = agent.critic.head(obs, tried).min(0).values.argmax()
        torch.testing.assert_close(acted[row, 0], tried[best])


def test_published_settings_follow_the_task():
    config = make_config("ifql")
    assert (config.expectile, config.samples, config.width, config.depth) == (0.9, 32, 512, 4)
    assert preset("paper", "ogbench:humanoidmaze-medium-navigate-singletask-v0")["gamma"] == 0.995
    assert "gamma" not in preset("paper", "ogbench:cube-double-play-singletask-v0")


def test_the_bandit_is_learned():
    agent = small("ifql", width=64, actor_lr=3e-3, critic_lr=3e-3)
    assert reward_after(agent, 0, corner, explore=False) < 0.4
    assert reward_after(agent, 300, corner, explore=False) > 0.7
