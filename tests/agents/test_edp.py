"""edp: one denoised action from the cloning term's own noise, and the weights of its variants by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from math import log, pi
from typing import Any

import numpy as np
import pytest
import torch
from flow_windows import ACT, OBS, at_anchor, generators, poisoned, random_windows, weights_of
from torch import Tensor

from trajrl.agents import make_agent
from trajrl.agents.edp import Q_TERMS, Config, level_weights, preset
from trajrl.core.rng import torch_stream

ALL = torch.ones(3, dtype=torch.bool)


def tiny(**config: Any) -> Any:
    small = {"width": 16, "depth": 2, "gru_width": 8, "diffusion_steps": 30, "solver_steps": 4}
    return make_agent("edp", OBS, ACT, seed=1, **{**small, **config})


def noise_of(agent: Any, batch: Any, step: int = 1) -> Any:
    return agent.draw_noise(batch, torch_stream(0, "agent", step))


def estimate(agent: Any, batch: Any, noise: Any) -> tuple[Tensor, Tensor]:
    """Return eps_hat and a0 (B, act) from the level and the noise of the cloning term."""
    policy, context = agent.actor.head, agent.context(agent.actor.encoder, at_anchor(batch))
    x = policy.diffusion.q_sample(agent.flat_actions(batch), noise.level, noise.eps)
    eps_hat = policy.predict(x, noise.level, context)
    return eps_hat, policy.diffusion.x0_hat(x, noise.level, eps_hat).clamp(-1, 1)


def test_q_sees_one_denoised_action_from_the_same_x_and_level(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = tiny(gamma=0.0)
    batch = random_windows(agent.spec)
    noise = noise_of(agent, batch)
    eps_hat, a0 = estimate(agent, batch, noise)
    predicted, valued = [], []
    predict, value = agent.actor.head.predict, agent.critic.head.forward
    monkeypatch.setattr(agent.actor.head, "predict", lambda *a: predicted.append(a) or predict(*a))
    monkeypatch.setattr(agent.critic.head, "forward", lambda *a: valued.append(a) or value(*a))
    loss, metrics = agent.actor_loss(batch, noise)
    assert len(predicted) == 1  # no chain, and no second noisy action
    assert torch.equal(predicted[0][1], noise.level)
    assert torch.equal(valued[0][1], a0)
    q = value(agent.context(agent.critic.encoder, at_anchor(batch)), a0, noise.pick)[0]
    mean, size = (batch.weight * q).mean(), (batch.weight * q.abs()).mean()
    q_loss = -2.0 * mean / size.detach()
    bc_loss = (batch.weight * (eps_hat - noise.eps).square().mean(1)).mean()
    assert metrics["actor/bc_loss"].item() == pytest.approx(bc_loss.item(), rel=1e-5)
    assert loss.item() == pytest.approx((bc_loss + q_loss).item(), rel=1e-5)
    own = list(agent.actor.parameters())
    for found, expected in zip(torch.autograd.grad(loss, own), torch.autograd.grad(bc_loss + q_loss, own)):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_numerator_and_scale_of_td3_are_the_same_critic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all of Q is positive the term is -eta whatever the scale of Q; with another's scale it is not."""
    agent = tiny(eta=2.0)
    monkeypatch.setattr(
        agent.critic.head,
        "forward",
        lambda view, actions, pick: (10.0 + 90 * pick)[:, None] + actions[:, 0] ** 2,
    )
    batch = random_windows(agent.spec)
    for step in range(4):
        _, metrics = agent.actor_loss(batch, noise_of(agent, batch, step))
        assert metrics["actor/q_loss"].item() == pytest.approx(-2.0, rel=1e-5)


def test_both_critics_are_climbed_in_turn() -> None:
    agent = tiny()
    batch = random_windows(agent.spec, 2)
    picks = {int(noise_of(agent, batch, step).pick) for step in range(20)}
    assert picks == {0, 1}


def test_weights_of_crr_by_hand() -> None:
    agent, adv = tiny(q_term="crr", eta=1.0), torch.tensor([0.0, log(2.0), 10.0])
    one = torch.ones(3)
    assert agent.weights(adv, ALL, one).tolist() == pytest.approx([1, 2, 20])
    assert agent.weights(adv, torch.tensor([True, False, True]), one).tolist() == pytest.approx([1, 0, 20])
    step = tiny(q_term="crr", weigh="step")
    assert step.weights(adv, ALL, one).tolist() == [0, 1, 1]
    share = tiny(q_term="crr", eta=1.0, adv_norm=True)
    adv = torch.tensor([0.0, log(2.0), log(3.0)])
    assert share.weights(adv, ALL, one).tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6])


def test_weights_of_awr_have_mean_one_under_the_rows_importance() -> None:
    agent, adv = tiny(q_term="awr", eta=2.0), torch.tensor([0.0, log(2.0) / 2, log(3.0) / 2])
    assert agent.weights(adv, ALL, torch.ones(3)).tolist() == pytest.approx([0.5, 1.0, 1.5])
    padded = agent.weights(adv, torch.tensor([True, True, False]), torch.ones(3))
    assert padded.tolist() == pytest.approx([2 / 3, 4 / 3, 0])
    rows = torch.tensor([1.0, 2.0, 0.0])
    weighed = agent.weights(adv, ALL, rows)
    assert (rows * weighed).mean().item() == pytest.approx(1.0)
    assert agent.weights(adv + 500, ALL, torch.ones(3)).tolist() == pytest.approx([0.5, 1.0, 1.5], rel=1e-4)
    none = torch.zeros(3, dtype=torch.bool)
    assert agent.weights(adv, none, torch.ones(3)).tolist() == [0, 0, 0]


def test_advantage_of_crr_is_against_actions_around_a0(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = tiny(q_term="crr", adv_samples=2)
    slopes = torch.tensor([1.0, 3.0])  # Q_j = slope_j a_0
    monkeypatch.setattr(
        agent.critic.head, "forward", lambda view, actions: torch.stack([s * actions[..., 0] for s in slopes])
    )
    batch = random_windows(agent.spec, 1)
    actions, a0 = torch.tensor([[0.5, 0.0]]), torch.tensor([[0.2, 0.0]])
    around = torch.tensor([[[1.0, 0.0], [-2.0, 0.0]]])
    # min(1.2, 3.6) = 1.2 and min(-1.8, -5.4) = -5.4; the data's min(0.5, 1.5) = 0.5
    adv = agent.advantage(batch, at_anchor(batch), actions, a0, around)
    assert adv.tolist() == pytest.approx([0.5 - (1.2 - 5.4) / 2])


@pytest.mark.parametrize("log_p", ["mle", "elbo"])
def test_weighed_density_by_hand(monkeypatch: pytest.MonkeyPatch, log_p: str) -> None:
    agent = tiny(q_term="crr", log_p=log_p)
    batch = random_windows(agent.spec, 4)._replace(weight=torch.ones(4))
    noise = noise_of(agent, batch)
    eps_hat, a0 = estimate(agent, batch, noise)
    monkeypatch.setattr(agent, "weights", lambda *given: torch.tensor([1.0, 2.0, 0.0, 4.0]))
    _, metrics = agent.actor_loss(batch, noise)
    error = (eps_hat - noise.eps).square().mean(1)
    density = -0.5 * (agent.flat_actions(batch) - a0).square().sum(1) - log(2 * pi)
    bound = -torch.tensor(level_weights(agent.actor.head.diffusion.abar)).float()[noise.level] * error
    expected = -(torch.tensor([1.0, 2.0, 0.0, 4.0]) * (density if log_p == "mle" else bound)).mean()
    assert metrics["actor/q_loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_awr_weighs_the_cloning_term_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = tiny(q_term="awr")
    batch = random_windows(agent.spec, 4)._replace(weight=torch.ones(4))
    noise = noise_of(agent, batch)
    weight = torch.tensor([0.0, 1.0, 3.0, 0.0])
    monkeypatch.setattr(agent, "weights", lambda *given: weight)
    loss, _ = agent.actor_loss(batch, noise)
    eps_hat, _ = estimate(agent, batch, noise)
    assert loss.item() == pytest.approx((weight * (eps_hat - noise.eps).square().mean(1)).mean().item())


def test_share_of_capped_weights_is_reported() -> None:
    agent = tiny(q_term="crr", eta=100.0, weight_cap=5.0)
    batch = random_windows(agent.spec)
    _, metrics = agent.actor_loss(batch, noise_of(agent, batch))
    assert metrics["actor/weight_max"].item() == 5
    assert 0 < metrics["actor/capped_share"].item() < 1


def test_levels_share_the_bound_with_mean_one() -> None:
    """Two levels of beta 0.1 and 0.5: alpha .9 and .5, abar .9 and .45."""
    first, second = 0.1 / (2 * 0.9 * 0.1), 0.5 / (2 * 0.5 * 0.55)
    mean = (first + second) / 2

    assert level_weights(np.array([0.9, 0.45])).tolist() == pytest.approx([first / mean, second / mean])


def test_iql_asks_the_policy_for_no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = tiny(q_term="iql")

    def refuse(*given: Any) -> Tensor:
        raise AssertionError("a chain was run")

    for actor in (agent.actor, agent.ema_actor):
        monkeypatch.setattr(actor.head, "sample", refuse)
    batch = random_windows(agent.spec)
    before = weights_of(agent)
    agent.update(batch, torch_stream(0, "agent", 1))
    moved = {name.split(".")[0] for name, v in weights_of(agent).items() if not torch.equal(v, before[name])}
    assert {"actor", "critic", "value"} <= moved


def test_iql_values_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaps of 1 and -1 under expectile .7: (.7 + .3) / 2; y = r + gamma V(next) where nothing terminated."""
    agent = tiny(q_term="iql", expectile=0.7, gamma=0.9)
    batch = random_windows(agent.spec, 2)._replace(
        rewards=torch.tensor([[1.0], [1.0]]), terminated=torch.tensor([False, True]), weight=torch.ones(2),
        mask=torch.ones(2, 1, dtype=torch.bool), steps=torch.ones(2, dtype=torch.int64),
    )  # fmt: skip
    monkeypatch.setattr(agent, "data_value", lambda *given: torch.tensor([3.0, 1.0]))
    monkeypatch.setattr(agent, "state_value", lambda history: torch.tensor([2.0, 2.0]))
    assert agent.value_loss(batch)[0].item() == pytest.approx(0.5)
    td_error = agent.critic_loss(batch, noise_of(agent, batch))[1]
    q = agent.critic.head(agent.context(agent.critic.encoder, at_anchor(batch)), agent.flat_actions(batch))
    torch.testing.assert_close(td_error, (q - torch.tensor([1 + 0.9 * 2, 1.0])).abs().mean(0))


def test_value_net_is_built_for_iql_alone() -> None:
    assert "value" in tiny(q_term="iql").parts
    assert all("value" not in tiny(q_term=name).parts for name in set(Q_TERMS) - {"iql"})


def test_defaults_sample_by_dpm_solver_in_fifteen_evaluations() -> None:
    config = make_agent("edp", OBS, ACT, width=8, depth=1).config
    assert (config.diffusion_steps, config.schedule, config.solver) == (1000, "linear_scaled", "dpm")
    for asked in (15, 6):
        plan = make_agent("edp", OBS, ACT, width=8, depth=1, solver_steps=asked).actor.head.plan
        assert len(plan.levels) == asked
        assert plan.draws == 1


def test_time_embedding_is_the_published_one() -> None:
    assert tiny().actor.head.denoiser.cos_first


def test_the_data_is_cut_to_the_bound() -> None:
    agent = tiny(action_clip=0.5)
    batch = random_windows(agent.spec)
    assert agent.flat_actions(batch).abs().max().item() == 0.5
    assert batch.actions.abs().max().item() > 0.5


def test_acting_asks_the_online_critic() -> None:
    agent = tiny(candidates=8, temperature=0.0)
    history = at_anchor(random_windows(agent.spec), 20)
    before = agent.act(history, generators(20), explore=False)
    with torch.no_grad():
        for parameter in agent.target.parameters():
            parameter.neg_()
    assert torch.equal(before, agent.act(history, generators(20), explore=False))
    with torch.no_grad():
        for parameter in agent.critic.parameters():
            parameter.neg_()
    assert not torch.equal(before, agent.act(history, generators(20), explore=False))


@pytest.mark.parametrize("q_term", Q_TERMS)
def test_every_variant_keeps_the_contract_of_losses(q_term: str) -> None:
    agent = tiny(q_term=q_term, history=3, horizon=2)
    batch = random_windows(agent.spec, 9)
    noise = noise_of(agent, batch)
    first = agent.actor_loss(batch, noise)[0]
    assert torch.equal(first, agent.actor_loss(poisoned(batch), noise)[0])
    light = batch._replace(weight=batch.weight.clone().index_fill_(0, torch.tensor([4]), 0.0))
    changed = light._replace(obs=light.obs.clone().index_fill_(0, torch.tensor([4]), 0.7))
    losses = [agent.actor_loss(each, noise)[0] for each in (light, changed)]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-6)
    before = weights_of(agent)
    agent.update(batch, torch_stream(0, "agent", 1))
    trained = [f"{part}.{n}" for part, net in agent.parts.items() if isinstance(net, torch.nn.Module)
               for n, p in net.named_parameters() if p.requires_grad]  # fmt: skip
    after = weights_of(agent)
    assert [name for name in trained if torch.equal(before[name], after[name])] == []


def test_paper_takes_clips_and_rewards_from_the_published_table() -> None:
    found = preset("paper", "d4rl:antmaze-umaze-v0")
    assert found["actor_clip"] == 2.0
    assert found["run.reward"] == "cql_antmaze"
    assert "eta" not in found


@pytest.mark.parametrize(
    ("field", "value"), [("q_term", "td4"), ("log_p", "x"), ("expectile", 1.0), ("weight_cap", 0.0)]
)
def test_a_wrong_setting_is_one_line(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        replace(tiny().config, **{field: value}).validate()


def test_the_first_error_names_all_that_few_levels_need() -> None:
    with pytest.raises(ValueError, match="linear_scaled needs more than 5 steps") as error:
        Config(diffusion_steps=5).validate()
    named = dict(re.findall(r"agent\.(\w+)=(\w+)", str(error.value)))
    assert named == {"schedule": "vp", "solver": "ddpm", "solver_steps": "0"}
    Config(diffusion_steps=5, schedule="vp", solver="ddpm", solver_steps=0).validate()


def test_the_error_names_nothing_that_may_stay() -> None:
    with pytest.raises(ValueError, match=r"set agent\.solver=ddpm agent\.solver_steps=0 as well"):
        Config(diffusion_steps=5, schedule="vp").validate()
    with pytest.raises(ValueError, match=r"set agent\.solver_steps=0 as well"):
        Config(diffusion_steps=5, schedule="cosine", solver="ddim").validate()
