"""ReBRAC: both penalties term by term, where the data has no next action, published settings, a bandit."""

from __future__ import annotations

import pytest
import torch
from flow_windows import ACT, corner, random_windows, reward_after, small, weights_of

from trajrl.agents import make_config
from trajrl.agents.rebrac import preset
from trajrl.core.rng import torch_stream


def moved_apart(**fields):
    """Return an agent whose targets are not its networks."""
    agent = small("rebrac", **fields)
    for parameter in (*agent.target.parameters(), *agent.target_actor.parameters()):
        parameter.data.mul_(1.2)
    return agent


@pytest.mark.parametrize("horizon", [1, 3])
def test_the_target_is_its_formula(horizon):
    agent = moved_apart(horizon=horizon, gamma=0.9, critic_beta=0.7)
    batch = random_windows(agent.spec)
    noise = agent.draw_noise(batch, torch_stream(0, "a"))._replace(next=3 * torch.ones(48, ACT))
    known = batch.next_mask[:, 0]
    assert 0 < known.float().mean() < 1
    with torch.no_grad():
        action = (agent.target_actor.head(batch.next_obs[:, -1]).tanh() + 0.5).clamp(-1, 1)  # 0.6 cut to 0.5
        value, expected = agent.target.head(batch.next_obs[:, -1], action).min(0).values, 0.0
        for i, k in enumerate(batch.steps.tolist()):
            apart = (action[i] - batch.next_actions[i, 0]).square().sum() if known[i] else 0.0
            y = sum(0.9**j * batch.rewards[i, j] for j in range(k))
            y = y if batch.terminated[i] else y + 0.9**k * (value[i] - 0.7 * apart)
            q = agent.critic.head(batch.obs[i, -1:], batch.actions[i])[:, 0]
            expected += batch.weight[i] * (q - y).square().sum() / len(batch.steps)
    torch.testing.assert_close(agent.critic_loss(batch, noise)[0], expected)


def test_the_policy_loss_is_its_formula():
    agent = moved_apart(actor_beta=0.3)
    batch = random_windows(agent.spec)
    with torch.no_grad():
        action = agent.actor.head(batch.obs[:, -1]).tanh()
        q = agent.critic.head(batch.obs[:, -1], action).min(0).values
        apart = (action - batch.actions[:, 0]).square().sum(-1)
        expected = (batch.weight * 0.3 * apart).mean()
        expected -= (batch.weight * q).mean() / (batch.weight * q.abs()).mean()
    torch.testing.assert_close(agent.actor_loss(batch)[0], expected)


def test_a_truncated_end_has_no_penalty():
    agent = moved_apart(critic_beta=100.0)
    batch = random_windows(agent.spec)
    noise = agent.draw_noise(batch, torch_stream(0, "a"))
    cut = ~batch.terminated & ~batch.next_mask[:, 0]
    assert cut.any()
    heavy = agent.critic_loss(batch, noise)[1]
    light = type(agent)(3, ACT, make_config("rebrac", width=24, depth=2, critic_beta=0.0), seed=3)
    light.load_state_dict(agent.state_dict())
    plain = light.critic_loss(batch, noise)[1]
    torch.testing.assert_close(heavy[cut | batch.terminated], plain[cut | batch.terminated])
    assert (heavy - plain).abs()[batch.next_mask[:, 0]].min() > 0


def test_without_penalties_the_policy_follows_q_alone():
    agent = small("rebrac", actor_beta=0.0, normalize_q=False)
    loss, metrics = agent.actor_loss(random_windows(agent.spec))
    torch.testing.assert_close(loss, metrics["actor/q_loss"])


def test_actor_and_targets_move_at_every_second_update():
    agent, moved = small("rebrac"), []
    for step in range(4):
        before = weights_of(agent)
        agent.update(random_windows(agent.spec, seed=step), torch_stream(0, "a", step))
        after = weights_of(agent)
        moved.append({name.split(".")[0] for name in after if not torch.equal(after[name], before[name])})
    everything = {"actor", "critic", "target", "target_actor"}
    assert moved == [everything, {"critic"}, everything, {"critic"}]


def test_published_settings_follow_the_data_set():
    own = preset("paper", "d4rl:walker2d-medium-expert-v2")
    assert (own["actor_beta"], own["critic_beta"], own["run.batch_size"]) == (0.01, 0.001, 1024)
    maze = preset("paper", "antmaze-umaze-diverse-v2")
    assert (maze["actor_beta"], maze["critic_beta"], maze["gamma"]) == (0.003, 0.0005, 0.999)
    assert preset("paper", "d4rl:hopper-medium-expert-v2")["run.batch_size"] == 1024
    assert preset("paper", "nothing-v0")["run.batch_size"] == 256
    arms = preset("paper", "ogbench:cube-double-play-singletask-v0")
    assert (arms["actor_beta"], arms["critic_beta"], arms["width"]) == (0.1, 0.0, 512)
    ant = preset("paper", "ogbench:antmaze-large-navigate-singletask-v0")
    assert (ant["width"], "run.reward" in ant) == (512, False)  # not the settings of the D4RL maze
    config = make_config("rebrac")
    assert (config.depth, config.critic_norm, config.actor_lr) == (3, "after", 1e-3)


def test_the_bandit_is_learned():
    agent = small("rebrac", width=64, actor_lr=3e-3, critic_lr=3e-3)
    assert reward_after(agent, 0, corner, explore=False) < 0.2
    assert reward_after(agent, 300, corner, explore=False) > 0.6
