"""Cal-QL: its bounded gap and the bound itself, against the formulas written out; what the bound does."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from flow_windows import ACT, corner, random_windows, reward_after, small
from test_cql import drawn, moved_apart

from trajrl import WindowSpec
from trajrl.agents import make_config
from trajrl.agents.cal_ql import preset
from trajrl.core.rng import torch_stream
from trajrl.store.normalize import REWARD_TRANSFORMS


def bound_of(agent, batch, noise, i: int, gamma: float) -> float:
    """Return G of row i: its return to go and, where the recording was cut, the value of what follows."""
    if batch.end_discount[i] == 0:
        return float(batch.returns[i])
    end = batch.end_obs[i, -1]
    action, _ = drawn(agent, end, noise.next[i][:1])
    value = agent.target.head(end.expand(len(action), -1), action).min(0).values.max()
    return float(batch.returns[i] + batch.end_discount[i] * value)


@pytest.mark.parametrize("form", ["importance", "plain"])
def test_the_critic_loss_is_its_formula(form):
    agent = moved_apart("cal_ql", horizon=2, gamma=0.9, form=form, samples=3, alpha=2.0, tau_q=0.5)
    batch = random_windows(agent.spec)
    noise, expected = agent.draw_noise(batch, torch_stream(0, "a")), 0.0
    with torch.no_grad():
        for i, k in enumerate(batch.steps.tolist()):
            obs, then = batch.obs[i, -1], batch.next_obs[i, -1]
            action, _ = drawn(agent, then, noise.next[i])
            y = sum(0.9**j * batch.rewards[i, j] for j in range(k))
            best = agent.target.head(then.expand(3, -1), action).min(0).values.max()
            y = y if batch.terminated[i] else y + 0.9**k * best
            q = agent.critic.head(obs[None], batch.actions[i])[:, 0]  # (E,)
            now, log_now = drawn(agent, obs, noise.here[i])
            after, log_after = drawn(agent, then, noise.there[i])
            density = [-ACT * log(2)] * 3 + log_now.tolist() + log_after.tolist()
            bound = bound_of(agent, batch, noise, i, 0.9)
            for j in range(2):
                tried = agent.critic.head(obs.expand(9, -1), torch.cat((noise.uniform[i], now, after)))[j]
                values = [*tried[:3].tolist(), *(max(x, bound) for x in tried[3:].tolist())]
                if form == "importance":
                    sum_of = sum(exp(x / 0.5 - d) for x, d in zip(values, density))
                else:
                    sum_of = sum(exp(x / 0.5) for x in [*values, float(q[j])])
                terms = (q[j] - y) ** 2 + 2.0 * (0.5 * log(sum_of) - q[j])
                expected += batch.weight[i] * terms / len(batch.steps)
    torch.testing.assert_close(agent.critic_loss(batch, noise)[0], expected, rtol=1e-4, atol=1e-4)


def test_windows_hold_terminated_and_truncated_ends():
    batch = random_windows(small("cal_ql").spec)  # what the formula test stands on
    assert (batch.end_discount == 0).any()
    assert (batch.end_discount > 0).any()


def test_without_the_bound_it_is_cql_with_its_settings():
    fields = {"samples": 3, "alpha": 5.0, "best_next": True}
    one, other = small("cal_ql", calibrate=False, actor_lr=3e-5, **fields), small("cql", **fields)
    assert one.spec == WindowSpec()
    for step in range(3):
        batch = random_windows(one.spec, seed=step)
        updates = [agent.update(batch, torch_stream(0, "a", step)) for agent in (one, other)]
        assert torch.equal(*(update.td_error for update in updates))


def test_values_of_the_policy_are_not_pressed_below_the_return():
    agent = small("cal_ql", samples=2)
    tried = torch.tensor([[[9.0, 9, 1, 3, 1, 3]]], requires_grad=True)  # two uniform, four of the policy
    bounded, below = agent.calibrated(tried, torch.tensor([2.0]))
    assert bounded.tolist() == [[[9, 9, 2, 3, 2, 3]]]
    assert below.item() == 0.5
    pressed = agent.log_sum_exp(bounded, torch.zeros(1, 6), torch.zeros(1, 1))
    (slope,) = torch.autograd.grad(pressed.sum(), tried)
    assert (slope[0, 0] > 0).tolist() == [True, True, False, True, False, True]


def test_published_settings_follow_the_task_family():
    config = make_config("cal_ql")
    assert (config.alpha, config.samples, config.best_next, config.lagrange) == (5.0, 10, True, False)
    assert (config.form, config.tau_q, config.calibrate) == ("importance", 1.0, True)
    maze = preset("paper", "d4rl:antmaze-large-play-v2")
    assert (maze["lagrange"], maze["goal"], maze["critic_depth"], maze["run.offline_fraction"]) == (
        True,
        0.8,
        4,
        0.5,
    )
    assert maze["alpha"] == pytest.approx(13.59, abs=0.01)
    assert preset("paper", "d4rl:kitchen-mixed-v0")["run.offline_fraction"] == 0.25
    assert preset("paper", "d4rl:pen-cloned-v1")["alpha"] == 1.0
    assert preset("paper", "d4rl:pen-binary-v0")["width"] == 512
    for name, low, high in (("cal_ql_antmaze", 0, 1), ("cal_ql_adroit", -1, 0)):
        scale, shift = REWARD_TRANSFORMS[name](None)
        assert (scale * low + shift, scale * high + shift) == (-5, 5)


def test_the_bandit_is_learned():
    agent = small("cal_ql", width=64, actor_lr=3e-3, critic_lr=3e-3, alpha=0.1, samples=4)
    assert reward_after(agent, 0, corner, explore=False) < 0.2
    assert reward_after(agent, 300, corner, explore=False) > 0.5
