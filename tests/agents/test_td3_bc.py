"""TD3+BC: target smoothing, the scale of the Q term, the delay, and a bandit."""

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
    weights_of,
)  # fmt: skip

from trajrl.agents import make_agent, make_config
from trajrl.agents.td3_bc import PRESETS
from trajrl.core.rng import torch_stream


@pytest.mark.parametrize("horizon", [1, 3])
def test_target_is_its_formula(horizon):
    agent = small("td3_bc", horizon=horizon, gamma=0.9)
    for parameter in (*agent.target.parameters(), *agent.target_actor.parameters()):
        parameter.data.mul_(1.2)
    batch = random_windows(agent.spec)
    noise = agent.draw_noise(batch, torch_stream(0, "a"))._replace(next=3 * torch.ones(48, ACT))
    with torch.no_grad():
        blurred = (agent.target_actor.head(batch.next_obs[:, -1]).tanh() + 0.5).clamp(-1, 1)  # 0.6 cut to 0.5
        value = agent.target.head(batch.next_obs[:, -1], blurred).min(0).values
        expected = 0.0
        for i, k in enumerate(batch.steps.tolist()):
            y = sum(0.9**j * batch.rewards[i, j] for j in range(k))
            y = y if batch.terminated[i] else y + 0.9**k * value[i]
            q = agent.critic.head(batch.obs[i, -1:], batch.actions[i])[:, 0]
            expected += batch.weight[i] * (q - y).square().sum() / len(batch.steps)
    torch.testing.assert_close(agent.critic_loss(batch, noise)[0], expected)


def test_the_target_noise_has_the_published_deviation_and_bound():
    agent, seen = small("td3_bc"), []
    final = [m for m in agent.target_actor.modules() if isinstance(m, torch.nn.Linear)][-1]
    (
        final.weight.data.zero_(),
        final.bias.data.zero_(),
    )  # the target's action is 0: what it is valued at is noise
    agent.target.head.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[1]))
    batch = random_windows(agent.spec, rows=20_000)
    agent.critic_loss(batch, agent.draw_noise(batch, torch_stream(0, "a")))
    assert seen[0].std().item() == pytest.approx(0.1977, abs=0.003)  # N(0, 0.2^2) with its tails put at 0.5
    assert seen[0].abs().max() == 0.5
    assert (seen[0].abs() == 0.5).float().mean().item() == pytest.approx(
        0.0124, abs=0.003
    )  # beyond 2.5 sigma


def test_the_weight_of_q_and_the_delay_are_the_published_ones():
    config = make_config("td3_bc")
    assert (config.alpha, config.policy_delay) == (2.5, 2)


def test_actor_loss_is_its_formula():
    agent = small("td3_bc", critic_norm="before")
    batch = random_windows(agent.spec)
    with torch.no_grad():
        action = agent.actor.head(batch.obs[:, -1]).tanh()
        q = agent.critic.head(batch.obs[:, -1], action)[0]
        scale = 2.5 / (batch.weight * q.abs()).mean()
        clone = (batch.weight[:, None] * (action - batch.actions[:, 0]).square()).mean()
    loss, metrics = agent.actor_loss(batch)
    torch.testing.assert_close(metrics["actor/q_loss"], -scale * (batch.weight * q).mean())
    torch.testing.assert_close(metrics["actor/bc_loss"], clone)
    torch.testing.assert_close(loss, metrics["actor/q_loss"] + clone)


def test_actor_and_targets_move_at_every_second_update():
    agent, moved = small("td3_bc"), []
    for step in range(4):
        before = weights_of(agent)
        found = agent.update(random_windows(agent.spec, seed=step), torch_stream(0, "a", step))
        after = weights_of(agent)
        changed = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
        moved.append(changed)
        assert ("actor/bc_loss" in found.metrics) == ("actor" in changed)
    everything = {"actor", "critic", "target", "target_actor"}
    assert moved == [everything, {"critic"}, everything, {"critic"}]


def test_exploring_adds_noise_inside_the_box():
    agent = small("td3_bc", explore_noise=0.5)
    history = at_anchor(random_windows(agent.spec), 40)
    greedy, tried = (agent.act(history, generators(40), explore) for explore in (False, True))
    assert torch.equal(greedy, agent.act(history, generators(40, seed=1), explore=False))
    assert 0.2 < (tried - greedy).std() < 0.6
    assert tried.abs().max() <= 1


def test_padding_is_never_read():
    fields = {"horizon": 4, "history": 3, "gru_width": 8}
    agent, other = small("td3_bc", **fields), small("td3_bc", **fields)
    batch = random_windows(agent.spec)
    clean = agent.update(batch, torch_stream(0, "a"))
    dirty = other.update(poisoned(batch), torch_stream(0, "a"))
    torch.testing.assert_close(clean, dirty, rtol=0, atol=0)


def test_presets_normalise_observations_by_the_statistics_of_the_data():
    statistics = {"obs_mean": torch.ones(OBS), "obs_std": 2 * torch.ones(OBS)}
    agent = make_agent("td3_bc", OBS, ACT, statistics=statistics, **PRESETS["paper"])
    history = at_anchor(random_windows(agent.spec), 3)
    expected = agent.actor.head((history.obs[:, -1] - 1) / 2).tanh()
    torch.testing.assert_close(agent.act(history, generators(3), explore=False)[:, 0], expected)


def test_fields_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="policy_delay must be at least 1"):
        make_config("td3_bc", policy_delay=0)
    with pytest.raises(ValueError, match="noise_clip must not be negative"):
        make_config("td3_bc", noise_clip=-0.1)


def test_the_bandit_is_learned():
    agent = make_agent("td3_bc", OBS, ACT, seed=0, width=64, actor_lr=3e-3, critic_lr=3e-3)
    assert reward_after(agent, 0, corner, explore=False) < 0.2
    assert reward_after(agent, 250, corner, explore=False) > 0.6
