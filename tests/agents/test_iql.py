"""IQL: the three losses term by term, the order of the steps, dropout, published settings, and a bandit."""

from __future__ import annotations

from math import log, pi

import pytest
import torch
from flow_windows import at_anchor, corner, generators, random_windows, reward_after, small, weights_of

from trajrl.agents import make_config
from trajrl.agents.iql import preset
from trajrl.core.rng import torch_stream

FIELDS = {"horizon": 3, "gamma": 0.9, "beta": 2.0, "weight_max": 1.5, "expectile": 0.8}


def parts(agent, batch):
    """Return u (B,), V(o_t) (B,) and V(o_{t+k}) (B,), as the formulas have them."""
    q = agent.target.head(batch.obs[:, -1], batch.actions[:, 0]).min(0).values
    now, then = (agent.state_value.head(obs[:, -1])[:, 0] for obs in (batch.obs, batch.next_obs))
    return q - now, now, then


def moved_apart(**fields):
    """Return an agent whose target is not its critic."""
    agent = small("iql", **fields)
    for parameter in agent.target.parameters():
        parameter.data.mul_(1.3)
    return agent


def test_the_value_loss_is_its_formula():
    agent = moved_apart(**FIELDS)
    batch = random_windows(agent.spec)
    with torch.no_grad():
        u, _, _ = parts(agent, batch)
        expected = sum(
            w * (0.8 if value >= 0 else 0.2) * value**2 for w, value in zip(batch.weight, u)
        ) / len(u)
    torch.testing.assert_close(agent.value_loss(batch, agent.data_values(batch))[0], expected)


def test_the_policy_loss_is_its_formula_and_its_weights_are_bounded():
    agent = moved_apart(**FIELDS)
    batch = random_windows(agent.spec)
    agent.actor.head.log_std.data.fill_(-0.5)
    with torch.no_grad():
        u, _, _ = parts(agent, batch)
        mean, expected = agent.actor.head.net(batch.obs[:, -1]).tanh(), 0.0
        for i, action in enumerate(batch.actions[:, 0]):
            weight = min(1.5, float((2.0 * u[i]).exp()))
            z = (action - mean[i]) / torch.tensor(-0.5).exp()
            density = (-0.5 * z**2 + 0.5 - 0.5 * log(2 * pi)).sum()
            expected -= batch.weight[i] * weight * density / len(u)
    loss, metrics = agent.actor_loss(
        batch, agent.draw_noise(batch, torch_stream(0, "a")), agent.data_values(batch)
    )
    torch.testing.assert_close(loss, expected)
    share = (2.0 * u).exp().gt(1.5).float().mean()
    assert 0 < share < 1
    torch.testing.assert_close(metrics["actor/saturated_share"], share)


def test_the_critics_bootstrap_is_v_and_no_action():
    agent = moved_apart(**FIELDS)
    batch = random_windows(agent.spec)
    with torch.no_grad():
        _, _, then = parts(agent, batch)
        q, expected = agent.critic.head(batch.obs[:, -1], batch.actions[:, 0]), 0.0
        for i, k in enumerate(batch.steps.tolist()):
            y = sum(0.9**j * batch.rewards[i, j] for j in range(k))
            y = y if batch.terminated[i] else y + 0.9**k * then[i]
            expected += batch.weight[i] * (q[:, i] - y).square().sum() / len(batch.steps)
    torch.testing.assert_close(agent.critic_loss(batch)[0], expected)


def test_the_policy_and_q_learn_from_the_value_after_its_step():
    agent, twin = moved_apart(critic_lr=1e-2), moved_apart(critic_lr=1e-2)
    batch = random_windows(agent.spec)
    noise = twin.draw_noise(batch, torch_stream(0, "a"))
    twin.prepare()
    q = twin.data_values(batch)
    twin.value_optimiser.step(twin.value_loss(batch, q)[0])
    expected = twin.actor_loss(batch, noise, q)[0], twin.critic_loss(batch)[0]
    metrics = agent.update(batch, torch_stream(0, "a")).metrics
    torch.testing.assert_close((metrics["actor/loss"], metrics["critic/loss"]), expected)


def test_the_gradient_of_the_value_loss_reaches_the_value_alone():
    agent = moved_apart(history=3, gru_width=8, horizon=4)
    batch = random_windows(agent.spec)
    loss, _ = agent.value_loss(batch, agent.data_values(batch))
    nets = (agent.actor, agent.critic, agent.target)
    others = [weight for net in nets for weight in net.parameters() if weight.requires_grad]
    assert all(
        part is None for part in torch.autograd.grad(loss, others, allow_unused=True, retain_graph=True)
    )
    own = torch.autograd.grad(loss, list(agent.state_value.parameters()))
    assert all(part.abs().sum() > 0 for part in own)


def test_only_the_policys_rate_decays():
    agent = small("iql", decay_steps=10)
    for step in range(6):
        agent.update(random_windows(agent.spec, seed=step), torch_stream(0, "a", step))
    assert agent.actor_optimiser.factor == pytest.approx(0.5)
    assert agent.value_optimiser.factor == agent.critic_optimiser.factor == 1.0


def test_dropout_leaves_out_hidden_units_of_the_policy_in_training_alone():
    agent = small("iql", dropout=0.25)
    batch = random_windows(agent.spec, rows=200)
    keep = agent.draw_noise(batch, torch_stream(0, "a")).keep
    assert keep.shape == (200, 2, 24)
    assert keep.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert (keep == 0).float().mean() == pytest.approx(0.25, abs=0.02)
    nothing = agent.draw_noise(batch, torch_stream(0, "a"))._replace(keep=torch.zeros_like(keep))
    mean, _ = agent.actor.head(batch.obs[:, -1], nothing.keep)
    torch.testing.assert_close(mean, agent.actor.head.net.layers[-1].bias.tanh().expand_as(mean))
    history = at_anchor(batch, 3)
    plain = agent.actor.head.net(history.obs[:, -1]).tanh()
    torch.testing.assert_close(agent.act(history, generators(3), explore=False)[:, 0], plain)


def test_exploring_draws_with_the_policys_own_deviation():
    agent = small("iql")
    agent.actor.head.log_std.data.fill_(-2.0)
    history = at_anchor(random_windows(agent.spec, rows=300))
    greedy, tried = (agent.act(history, generators(300), explore) for explore in (False, True))
    assert (tried - greedy).std() == pytest.approx(0.135, rel=0.1)
    assert tried.abs().max() <= 1


def test_published_settings_follow_the_task_family():
    families = {"d4rl:hopper-medium-v2": (0.7, 3.0, 0.0), "d4rl:antmaze-large-play-v2": (0.9, 10.0, 0.0),
                "d4rl:pen-human-v1": (0.7, 0.5, 0.1), "d4rl:kitchen-mixed-v0": (0.7, 0.5, 0.1),
                "ogbench:antmaze-large-navigate-singletask-v0": (0.9, 10.0, 0.0),
                "ogbench:cube-double-play-singletask-task2-v0": (0.9, 0.3, 0.0)}  # fmt: skip
    for env, (expectile, beta, dropout) in families.items():
        own = {name: value for name, value in preset("paper", env).items() if not name.startswith("run.")}
        config = make_config("iql", **own)
        assert (config.expectile, config.beta, config.dropout) == (expectile, beta, dropout)
    assert preset("paper", "antmaze-umaze-v0")["run.reward"] == "iql_antmaze"
    far = preset("paper", "ogbench:humanoidmaze-medium-navigate-singletask-v0")
    assert (far["gamma"], "run.reward" in far) == (0.995, False)


def test_a_target_never_follows_before_the_critics_step():
    agent = small("iql", tau=1.0)
    agent.update(random_windows(agent.spec), torch_stream(0, "a"))
    found = weights_of(agent)
    assert all(
        torch.equal(found[name], found[name.replace("critic.", "target.", 1)])
        for name in found
        if name.startswith("critic.")
    )


def test_the_bandit_is_learned():
    agent = small("iql", width=64, actor_lr=3e-3, critic_lr=3e-3, beta=10.0)
    assert reward_after(agent, 0, corner, explore=False) < 0.2
    assert reward_after(agent, 300, corner, explore=False) > 0.6
