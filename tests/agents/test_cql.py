"""CQL: target, conservative gap in both forms, the learned weight, and what the gap does to values."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from flow_windows import ACT, OBS, bandit_windows, corner, random_windows, reward_after, small

from trajrl.agents import make_config
from trajrl.agents.cql import preset
from trajrl.agents.presets.task_names import ROW
from trajrl.core.rng import torch_stream


def moved_apart(name="cql", **fields):
    """Return an agent whose target is not its critic."""
    agent = small(name, **fields)
    for parameter in agent.target.parameters():
        parameter.data.mul_(1.3)
    return agent


def drawn(agent, obs, noise):
    """Return the policy's actions (M, act) at one observation, and their log densities (M,)."""
    mean, log_std = agent.actor.head(obs[None])
    u = mean + log_std.exp() * noise
    normal = torch.distributions.Normal(mean, log_std.exp()).log_prob(u).sum(-1)
    return u.tanh(), normal - (1 - u.tanh().square()).log().sum(-1)


@pytest.mark.parametrize("form", ["importance", "plain"])
def test_the_critic_loss_is_its_formula(form):
    agent = moved_apart(horizon=3, gamma=0.9, form=form, samples=3, alpha=2.0, tau_q=0.5)
    batch = random_windows(agent.spec)
    noise, expected = agent.draw_noise(batch, torch_stream(0, "a")), 0.0
    with torch.no_grad():
        for i, k in enumerate(batch.steps.tolist()):
            obs, then = batch.obs[i, -1], batch.next_obs[i, -1]
            action, _ = drawn(agent, then, noise.next[i])
            y = sum(0.9**j * batch.rewards[i, j] for j in range(k))
            y = y if batch.terminated[i] else y + 0.9**k * agent.target.head(then[None], action).min()
            q = agent.critic.head(obs[None], batch.actions[i])[:, 0]  # (E,)
            now, log_now = drawn(agent, obs, noise.here[i])
            after, log_after = drawn(agent, then, noise.there[i])
            uniform, flat = noise.uniform[i], torch.full((3,), -ACT * log(2))
            for j in range(2):
                tried = agent.critic.head(obs.expand(9, -1), torch.cat((uniform, now, after)))[j] / 0.5
                if form == "importance":
                    sum_of = sum(exp(x) for x in (tried - torch.cat((flat, log_now, log_after))).tolist())
                else:
                    sum_of = sum(exp(x) for x in [*tried.tolist(), float(q[j]) / 0.5])
                terms = (q[j] - y) ** 2 + 2.0 * (0.5 * log(sum_of) - q[j])
                expected += batch.weight[i] * terms / len(batch.steps)
    torch.testing.assert_close(agent.critic_loss(batch, noise)[0], expected, rtol=1e-4, atol=1e-4)


def test_the_best_of_several_actions_is_the_bootstrap_of_best_next():
    agent = moved_apart(best_next=True, samples=5, alpha=0.0)
    batch = random_windows(agent.spec)
    noise, expected = agent.draw_noise(batch, torch_stream(0, "a")), []
    with torch.no_grad():
        for i in range(len(batch.steps)):
            action, _ = drawn(agent, batch.next_obs[i, -1], noise.next[i])
            value = agent.target.head(batch.next_obs[i, -1].expand(5, -1), action).min(0).values.max()
            y = batch.rewards[i, 0] + (0.0 if batch.terminated[i] else 0.99 * value)
            expected.append(y)
    mean = agent.critic_loss(batch, noise)[2]["critic/target_mean"]
    torch.testing.assert_close(mean, torch.stack(expected).mean())


def test_no_gradient_of_the_critic_loss_reaches_the_policy():
    agent = moved_apart(target_entropy=True)
    batch = random_windows(agent.spec)
    loss = agent.critic_loss(batch, agent.draw_noise(batch, torch_stream(0, "a")))[0]
    others = [*agent.actor.parameters(), *agent.temperature.parameters()]
    assert all(part is None for part in torch.autograd.grad(loss, others, allow_unused=True))


@pytest.mark.parametrize(("goal", "rises"), [(-100.0, True), (100.0, False)])
def test_a_learned_weight_rises_while_the_gap_is_above_its_goal(goal, rises):
    agent = small("cql", lagrange=True, goal=goal, alpha=1.0, samples=2)
    for step in range(5):
        agent.update(random_windows(agent.spec, seed=step), torch_stream(0, "a", step))
    found = agent.alpha().item()
    assert (found > 1.0) == rises
    assert found != 1.0


def test_the_gap_presses_values_of_actions_that_the_data_lacks():
    def narrow(step):
        batch = bandit_windows(agent.spec, 64, step, lambda actions: torch.zeros(len(actions)))
        return batch._replace(actions=0.1 * batch.actions)

    differences = []
    for alpha in (0.0, 5.0):
        agent = small("cql", alpha=alpha, samples=4, critic_lr=3e-3)
        for step in range(60):
            agent.update(narrow(step), torch_stream(0, "a", step))
        obs = torch.zeros(64, OBS)
        with torch.no_grad():
            data = agent.critic.head(obs, narrow(0).actions[:, 0])
            other = agent.critic.head(obs, torch.full((64, ACT), 0.95))
        differences.append(float((data - other).mean()))
    assert abs(differences[0]) < 0.2
    assert differences[1] > 0.5


def test_a_gap_below_its_bound_counts_as_the_bound():
    agent = small("cql", samples=2, gap_clip=3.0, alpha=1.0)
    batch = random_windows(agent.spec)
    noise = agent.draw_noise(batch, torch_stream(0, "a"))
    q = agent.critic.head(batch.obs[:, -1], agent.flat_actions(batch))
    agent.substitute("log_sum_exp", lambda *_: q - 10)  # a gap of -10 everywhere
    metrics = agent.critic_loss(batch, noise)[2]
    assert metrics["critic/gap"].item() == pytest.approx(-3)


def test_values_and_means_begin_near_zero_and_deviations_near_exp_minus_one():
    agent, obs = small("cql"), torch.randn(64, OBS, generator=torch_stream(0, "t"))
    with torch.no_grad():
        mean, log_std = agent.actor.head(obs)
        assert max(mean.abs().max(), (log_std + 1).abs().max()) < 0.05
        assert agent.critic.head(obs, torch.zeros(64, ACT)).abs().max() < 0.05


def test_the_critics_may_be_deeper_than_the_policy():
    agent = small("cql", depth=2, critic_depth=5)
    assert (len(agent.actor.head.net.layers), len(agent.critic.head.net.layers)) == (3, 6)


def test_published_settings_follow_the_task_family():
    assert make_config("cql").alpha == 10.0
    maze = preset("paper", "d4rl:antmaze-large-play-v2")
    assert (maze["lagrange"], maze["goal"], maze["best_next"], maze["gap_clip"]) == (True, 0.8, True, 200.0)
    assert (maze["critic_depth"], maze["run.reward"]) == (5, "cal_ql_antmaze")
    assert {**preset("paper", "d4rl:antmaze-umaze-v2"), ROW: maze[ROW]} == maze
    assert preset("paper", "d4rl:door-cloned-v1")["alpha"] == 1.0
    assert preset("paper", "d4rl:kitchen-complete-v0")["form"] == "plain"
    assert preset("paper", "ogbench:antmaze-large-navigate-singletask-v0") == preset("paper", "nothing")


def test_the_bandit_is_learned():
    agent = small("cql", width=64, actor_lr=3e-3, critic_lr=3e-3, alpha=0.1, samples=4)
    assert reward_after(agent, 0, corner, explore=False) < 0.2
    assert reward_after(agent, 300, corner, explore=False) > 0.5
