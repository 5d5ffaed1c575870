"""RLPD: rows dealt to mini-batches, subsets of critics, the soft target, the chunked form, a bandit."""

from __future__ import annotations

import pytest
import torch
from flow_windows import (
    ACT,
    OBS,
    at_anchor,
    bandit_windows,
    corner,
    generators,
    poisoned,
    random_windows,
    reward_after,
    small,
    weights_of,
)  # fmt: skip
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from trajrl import SequenceBatch, WindowSpec
from trajrl.agents import make_agent, make_config
from trajrl.agents.rlpd import PRESETS, preset
from trajrl.core.rng import torch_stream


def law_at(agent, obs):
    """Return torch's own tanh-Gaussian at observations (B, obs)."""
    mean, log_std = agent.actor.head(obs)
    return TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform(cache_size=1))


def sampled(agent, obs, noise):
    mean, log_std = agent.actor.head(obs)
    return (mean + log_std.exp() * noise).tanh()


def tilt(agent):
    """Move target and online critics apart."""
    rng = torch_stream(9, "tilt")
    for parameter in agent.target.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=rng))


@pytest.mark.parametrize(("offline", "online"), [(40, 40), (20, 60), (60, 20)])
def test_every_mini_batch_has_its_share_of_offline_and_online_rows(offline, online):
    agent = small("rlpd", utd=20)
    batch = bandit_windows(agent.spec, offline + online, 0, corner)
    batch = batch._replace(episode=torch.cat((torch.zeros(offline), torch.ones(online))).long())
    counts = [int(part.episode.sum()) for part in agent.mini_batches(batch)]
    assert counts == [online // 20] * 20


def test_mini_batches_hold_every_row_once():
    agent = small("rlpd", utd=4)
    batch = random_windows(agent.spec, 24)._replace(step=torch.arange(24))
    parts = list(agent.mini_batches(batch))
    assert [len(part.steps) for part in parts] == [6] * 4
    assert sorted(torch.cat([part.step for part in parts]).tolist()) == list(range(24))


def test_the_loop_is_told_how_many_rows_to_draw():
    assert small("rlpd", utd=7).updates_per_batch == 7
    assert small("sac").updates_per_batch == 1


def test_a_batch_that_cannot_be_dealt_is_refused():
    with pytest.raises(ValueError, match="a batch of 21 rows cannot be dealt to 20 mini-batches"):
        make_agent("rlpd", OBS, ACT).update(random_windows(WindowSpec(), 21), torch_stream(0, "a"))


def test_td_errors_come_back_in_the_order_of_the_rows():
    agent = small("rlpd", utd=4, critic_lr=0.0, actor_lr=0.0)
    agent.next_value = lambda there, noise: there.obs[:, -1, 0]  # free of noise
    batch = random_windows(agent.spec, 24)
    whole = agent.critic_loss(batch, agent.draw_noise(batch, torch_stream(0, "a")))[1]
    torch.testing.assert_close(agent.update(batch, torch_stream(0, "a")).td_error, whole)


def test_the_subset_is_drawn_anew_without_repetition():
    agent, rng = small("rlpd", critics=10, subset=2), torch_stream(0, "agent")
    batch = random_windows(agent.spec, 4)
    drawn = [tuple(agent.draw_noise(batch, rng).subset.tolist()) for _ in range(200)]
    assert all(len(set(pair)) == 2 for pair in drawn)
    counts = [sum(j in pair for pair in drawn) for j in range(10)]
    assert min(counts) > 20  # 40 expected of each
    assert max(counts) < 62


@pytest.mark.parametrize("target_entropy", [True, False])
@pytest.mark.parametrize("target", ["subset_min", "mean"])
def test_target_is_its_formula(target, target_entropy):
    agent = small("rlpd", critics=5, subset=2, target=target, target_entropy=target_entropy, temperature=0.3)
    tilt(agent)
    batch = random_windows(agent.spec)
    noise = agent.draw_noise(batch, torch_stream(0, "a"))._replace(subset=torch.tensor([1, 3]))
    obs = batch.next_obs[:, -1]
    with torch.no_grad():
        action = sampled(agent, obs, noise.next)
        q = agent.target.head(obs, action)  # (5, B)
        value = torch.minimum(q[1], q[3]) if target == "subset_min" else q.sum(0) / 5
        if target_entropy:
            value = value - 0.3 * law_at(agent, obs).log_prob(action).sum(-1)
        y = batch.rewards[:, 0] + torch.where(batch.terminated, 0.0, 0.99 * value)
        q_now = agent.critic.head(batch.obs[:, -1], batch.actions[:, 0])
        expected = (batch.weight * (q_now - y).square()).mean()
    torch.testing.assert_close(agent.critic_loss(batch, noise)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("partial_chunks", ["pad", "drop"])
def test_chunked_target_of_cut_windows(partial_chunks):
    agent = small(
        "rlpd", chunk=3, target="mean", target_entropy=False, partial_chunks=partial_chunks, gamma=0.9
    )
    batch = bandit_windows(agent.spec, 1, 0, corner)
    mask = torch.tensor([[True, True, False]])
    batch = batch._replace(
        rewards=torch.tensor([[1.0, 2.0, 0.0]]), mask=mask, action_mask=mask, steps=torch.tensor([2]),
        terminated=torch.tensor([False]),
    )  # fmt: skip
    agent.next_value = lambda *_: torch.tensor([10.0])
    loss, td_error, metrics = agent.critic_loss(batch, agent.draw_noise(batch, torch_stream(0, "a")))
    if partial_chunks == "drop":
        assert (loss.item(), metrics["critic/used_share"].item()) == (0, 0)
        assert td_error.isnan().all()
    else:
        assert metrics["critic/target_mean"].item() == pytest.approx(10.9, abs=1e-5)
        assert td_error.item() > 0


def test_actor_and_temperature_losses_are_their_formulas():
    agent = small("rlpd", chunk=2, bc_alpha=0.5, temperature=0.7, entropy_goal=-0.5)
    batch = random_windows(agent.spec)
    noise = agent.draw_noise(batch, torch_stream(0, "a"))
    obs = batch.obs[:, -1]
    with torch.no_grad():
        chunk, law = sampled(agent, obs, noise.policy), law_at(agent, obs)
        log_pi = law.log_prob(chunk).sum(-1)
        q = agent.critic.head(obs, chunk).mean(0)
        recorded = law.log_prob(batch.actions.flatten(1).clamp(-1 + 1e-5, 1 - 1e-5)).view(-1, 2, ACT)
        real = batch.action_mask[..., None].expand_as(recorded)
        clone = -(batch.weight[:, None, None] * recorded)[real].sum() / real.sum() * 4  # 4 numbers a chunk
        actor = (batch.weight * (0.7 * log_pi - q)).mean() + 0.5 * clone
        temperature = 0.7 * (batch.weight * (-log_pi + 0.5 * 4)).mean()
    loss, temp_loss, metrics = agent.actor_loss(batch, noise)
    torch.testing.assert_close(loss, actor, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(temp_loss, temperature, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(metrics["actor/bc_loss"], clone, rtol=1e-4, atol=1e-5)


def test_the_temperature_falls_while_there_is_more_entropy_than_asked_for():
    for goal, direction in ((-20.0, -1), (20.0, 1)):
        agent = small("rlpd", utd=1, entropy_goal=goal)
        agent.update(random_windows(agent.spec), torch_stream(0, "a"))
        assert (agent.temperature().item() - 1) * direction > 0


@pytest.mark.parametrize("joint", [False, True])
def test_one_update_is_utd_critic_steps_and_one_actor_step(joint):
    fields = {"utd": 3, "chunk": 2, "bc_alpha": 0.1, "joint": joint} | ({"utd": 1} if joint else {})
    agent, plain = small("rlpd", **fields), small("rlpd", **fields)
    batch = random_windows(agent.spec, 24)
    found = agent.update(batch, torch_stream(0, "a"))

    rng, utd = torch_stream(0, "a"), fields["utd"]
    for j in range(utd):
        part = SequenceBatch(*(None if column is None else column[j::utd] for column in batch))
        noise = plain.draw_noise(part, rng)
        loss = plain.critic_loss(part, noise)[0]
        early = [g.clone() for g in torch.autograd.grad(plain.actor_loss(part, noise)[0], actor_of(plain))]
        plain.critic_optimiser.step(loss)
        for target, online in zip(plain.target.parameters(), plain.critic.parameters()):
            target.data.lerp_(online.data, 0.005)
    late = torch.autograd.grad(plain.actor_loss(part, noise)[0], actor_of(plain))
    gradient = early if joint else late
    norm = torch.sqrt(sum(g.square().sum() for g in gradient))
    torch.testing.assert_close(found.metrics["actor/grad_norm"], norm)
    for name, value in weights_of(plain).items():
        if name.startswith(("critic", "target")):
            torch.testing.assert_close(weights_of(agent)[name], value)


def actor_of(agent):
    return list(agent.actor.parameters())


def test_padding_is_never_read():
    fields = {"utd": 1, "chunk": 4, "history": 3, "gru_width": 8, "bc_alpha": 0.1}
    agent, other = small("rlpd", **fields), small("rlpd", **fields)
    batch = random_windows(agent.spec)
    clean, dirty = (
        agent.update(batch, torch_stream(0, "a")),
        other.update(poisoned(batch), torch_stream(0, "a")),
    )
    torch.testing.assert_close(clean, dirty, rtol=0, atol=0)


def test_exploring_samples_and_evaluating_takes_the_mean():
    agent = small("rlpd", chunk=2)
    history = at_anchor(random_windows(agent.spec), 5)
    greedy = agent.act(history, generators(5), explore=False)
    mean = agent.actor.head(history.obs[:, -1])[0].tanh().view(5, 2, ACT)
    torch.testing.assert_close(greedy, mean)
    tried = torch.stack([agent.act(history, generators(5, seed), explore=True) for seed in range(50)])
    assert tried.std(0).min() > 0.05


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"utd": 0}, "utd must be at least 1"),
        ({"critics": 2, "subset": 3}, "subset is between 1 and critics, 2"),
        ({"target": "max"}, "no value of target 'max'"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"critic_chunk": 2}, "critic_chunk must not exceed chunk, 1"),
        ({"chunk": 4, "horizon": 3}, "horizon must not be below"),
    ],
)
def test_fields_that_do_not_fit_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        make_config("rlpd", **fields)


def own(found: dict) -> dict:
    """Leave out what a preset sets of the run."""
    return {name: value for name, value in found.items() if not name.startswith("run.")}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_configs(name):
    config = make_config("rlpd", **own(preset(name, "any")))
    assert (config.critics, config.chunk) == (10, 5 if name in ("qc_rlpd", "rlpd_ac") else 1)


def test_sparse_tasks_have_their_published_settings():
    found = preset("paper", "d4rl:antmaze-large-play-v2")
    assert (found["run.reward"], make_config("rlpd", **own(found)).subset) == ("iql_antmaze", 1)
    assert make_config("rlpd", **own(preset("paper", "pen-binary-v0"))).target_entropy is False
    assert own(preset("paper", "d4rl:hopper-medium-v2")) == {}


@pytest.mark.parametrize("fields", [{}, {"chunk": 1, "target": "mean", "joint": True, "utd": 1}])
def test_the_bandit_is_learned(fields):
    rates = {"actor_lr": 3e-3, "critic_lr": 3e-3, "temperature": 0.05}
    sizes = {"utd": 4, "critics": 5, "width": 64, "depth": 2}
    agent = make_agent("rlpd", OBS, ACT, seed=0, **{**rates, **sizes, **fields})
    assert reward_after(agent, 200, corner, explore=False) > 0.8
