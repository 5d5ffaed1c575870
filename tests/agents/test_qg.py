"""qg: the guided regression by hand, the published variants by name, and where they are one rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from flow_windows import ACT, OBS, at_anchor, generators, random_windows, weights_of
from torch import Tensor

from trajrl.agents import eg_ood, make_agent, make_config
from trajrl.agents.qg import preset
from trajrl.core.rng import torch_stream
from trajrl.nets.diffusion import Diffusion
from trajrl.nets.guidance import RATIOS, strength
from trajrl.store.window import WindowSpec

VP5 = (0.804125, 0.435178, 0.158500, 0.038852, 0.006409)  # abar of vp at K = 5


def tiny(**config: Any) -> Any:
    return make_agent("qg", OBS, ACT, seed=1, **{"width": 16, "depth": 2, "gru_width": 8, **config})


def gradients(agent: Any, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(agent.actor.parameters())))


def actor_loss(agent: Any, batch: Any, step: int = 1) -> Tensor:
    return agent.actor_loss(batch, agent.draw_noise(batch, torch_stream(0, "agent", step)))[0]


def test_ratios_by_name_have_the_published_strength() -> None:
    diffusion = Diffusion(5, "vp")
    for level, abar in enumerate(VP5):
        expected = {
            "x0_mean": ((1 - abar) / abar) ** 0.5, "x0_new": abar**0.5, "test_0": abar**-0.5,
            "new_base": abar**-0.5, "x0_mean_new": (1 - abar) ** 1.5 / abar**0.5, "snr_test": 1 - abar,
            "snr_real": ((1 - abar) * abar) ** 0.5, "snr": 1.0, "pred": (1 - abar) ** 0.5,
        }  # fmt: skip
        assert set(expected) == set(RATIOS)
        for name, value in expected.items():
            found = strength(diffusion, torch.tensor([level]), name)
            assert found.shape == (1, 1)
            assert found.item() == pytest.approx(value, rel=1e-4), name


def test_places_of_the_gradient_are_the_published_ones() -> None:
    at_action = {name for name, ratio in RATIOS.items() if ratio.place == "action"}
    assert at_action == {"x0_new", "test_0"}
    assert {name for name, ratio in RATIOS.items() if ratio.place == "x_i"} == {"pred"}


@pytest.mark.parametrize("clamp_x0", [False, True])
def test_x0_mean_without_weight_is_pred(clamp_x0: bool) -> None:
    options = {"norm_weight": None, "clamp_x0": clamp_x0, "guidance_clip": 0.02, "eta": 2.0}
    one, other = tiny(ratio="x0_mean", **options), tiny(ratio="pred", **options)
    batch = random_windows(one.spec)
    losses = actor_loss(one, batch), actor_loss(other, batch)
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-6)
    for a, b in zip(gradients(one, losses[0]), gradients(other, losses[1])):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    different = tiny(ratio="snr", **options)
    assert not torch.allclose(actor_loss(different, batch), losses[0], rtol=1e-5)


def test_loss_is_the_weighed_regression_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Q = v . a the gradient is v wherever it is taken."""
    v = torch.tensor([0.3, -6.0])
    agent = tiny(eta=0.5)
    monkeypatch.setattr(agent.critic.head, "forward", lambda view, actions: (actions @ v).expand(2, -1))
    batch = random_windows(agent.spec, 5)
    noise = agent.draw_noise(batch, torch_stream(0, "agent", 1))
    loss, metrics = agent.actor_loss(batch, noise)
    policy, abar = agent.actor.head, torch.tensor(VP5)[noise.level][:, None]
    x = abar.sqrt() * batch.actions[:, 0] + (1 - abar).sqrt() * noise.eps
    eps_hat = policy.predict(x, noise.level, agent.context(agent.actor.encoder, at_anchor(batch)))
    goal = noise.eps - 0.5 * (((1 - abar) / abar).sqrt() * v).clamp(-1, 1)
    w = batch.weight[:, None] / min(max(float(v.norm()), 0.8), 5.0)
    assert loss.item() == pytest.approx((w * (eps_hat - goal).square()).mean().item(), rel=1e-4)
    plain = (batch.weight[:, None] * (eps_hat - noise.eps).square()).mean()
    assert metrics["actor/bc_loss"].item() == pytest.approx(plain.item(), rel=1e-4)
    assert metrics["actor/guidance"].item() == pytest.approx(float(v.norm()), rel=1e-5)


def test_only_the_least_critic_guides(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = tiny(norm_weight=None, guidance_clip=100.0)
    slopes = torch.tensor([[2.0, 0.0], [-3.0, 0.0]])  # min(2 a, -3 a): the gradient is 2 below 0, -3 above

    def forward(view: Tensor, actions: Tensor) -> Tensor:
        return slopes @ actions.T

    monkeypatch.setattr(agent.critic.head, "forward", forward)
    batch = random_windows(agent.spec, 40)
    _, metrics = agent.actor_loss(batch, agent.draw_noise(batch, torch_stream(0, "agent", 1)))
    assert 2 < metrics["actor/guidance"].item() < 3


def test_guidance_sends_no_gradient_through_the_estimate_or_the_critic() -> None:
    agent = tiny(eta=3.0)
    batch = random_windows(agent.spec)
    loss = actor_loss(agent, batch)
    critic = torch.autograd.grad(loss, list(agent.critic.parameters()), allow_unused=True, retain_graph=True)
    assert all(gradient is None for gradient in critic)
    noise = agent.draw_noise(batch, torch_stream(0, "agent", 1))
    policy, context = agent.actor.head, agent.context(agent.actor.encoder, at_anchor(batch))
    actions = agent.flat_actions(batch)
    x = policy.diffusion.q_sample(actions, noise.level, noise.eps)
    eps_hat = policy.predict(x, noise.level, context)
    x0 = policy.diffusion.x0_hat(x, noise.level, eps_hat).detach().requires_grad_()
    view = agent.context(agent.critic.encoder, at_anchor(batch))
    g = torch.autograd.grad(agent.critic.head(view, x0).amin(0).sum(), x0)[0]
    goal = noise.eps - 3.0 * (strength(policy.diffusion, noise.level, "x0_mean") * g).clamp(-1, 1)
    w = batch.weight[:, None] / g.norm(dim=1, keepdim=True).clamp(0.8, 5.0)
    for a, b in zip(gradients(agent, loss), gradients(agent, (w * (eps_hat - goal).square()).mean())):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_without_eta_and_weight_it_is_behaviour_cloning() -> None:
    agent = tiny(eta=0.0, norm_weight=None)
    batch = random_windows(agent.spec)
    loss, metrics = agent.actor_loss(batch, agent.draw_noise(batch, torch_stream(0, "agent", 1)))
    assert torch.equal(loss, metrics["actor/bc_loss"])


def test_scaled_q_divides_the_gradient_by_mean_abs_q_plus_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for scale in ("one", "mean"):
        agent = tiny(q_scale=scale, norm_weight=None)
        head = agent.critic.head
        monkeypatch.setattr(
            head, "forward", lambda view, actions: (actions[:, 0] - actions[:, 0].detach() + 7).expand(2, -1)
        )
        batch = random_windows(agent.spec, 6)._replace(weight=torch.ones(6))
        _, metrics = agent.actor_loss(batch, agent.draw_noise(batch, torch_stream(0, "agent", 1)))
        found[scale] = metrics["actor/guidance"].item()
    assert found["one"] == pytest.approx(1.0)
    assert found["mean"] == pytest.approx(1 / 8)


def test_no_chain_is_run_without_a_discount(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = tiny(gamma=0.0, diffusion_steps=100)

    def refuse(*given: Any) -> Tensor:
        raise AssertionError("a chain was run")

    for actor in (agent.actor, agent.ema_actor):
        monkeypatch.setattr(actor.head, "sample", refuse)
    batch = random_windows(agent.spec)
    td_error = agent.update(batch, torch_stream(0, "agent", 1)).td_error
    assert td_error.shape == batch.steps.shape
    discounted = tiny(gamma=0.9)
    monkeypatch.setattr(discounted.ema_actor.head, "sample", refuse)
    with pytest.raises(AssertionError, match="chain"):
        discounted.update(batch, torch_stream(0, "agent", 1))


def test_targets_have_the_golden_values_over_n_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gamma .9, rewards 1 2 3, next value 10: 12.52, truncated after two steps 10.9, terminated 2.8."""
    agent = tiny(horizon=3, history=4, gamma=0.9)
    assert agent.spec == WindowSpec(4, 1, 3)
    batch = random_windows(agent.spec, 3)._replace(
        rewards=torch.tensor([[1.0, 2, 3], [1, 2, 0], [1, 2, 0]]), weight=torch.ones(3),
        mask=torch.tensor([[True, True, True], [True, True, False], [True, True, False]]),
        steps=torch.tensor([3, 2, 2]), terminated=torch.tensor([False, False, True]),
    )  # fmt: skip
    monkeypatch.setattr(agent, "next_value", lambda *given: torch.full((3,), 10.0))
    td_error = agent.critic_loss(batch, agent.draw_noise(batch, torch_stream(0, "agent", 1)))[1]
    view = agent.context(agent.critic.encoder, at_anchor(batch))
    q = agent.critic.head(view, agent.flat_actions(batch))
    expected = (q - torch.tensor([12.52, 10.9, 2.8])).abs().mean(0)
    torch.testing.assert_close(td_error, expected, rtol=1e-5, atol=1e-5)


def test_history_reaches_policy_and_critic() -> None:
    agent = tiny(history=4)
    batch = random_windows(agent.spec)
    before = weights_of(agent)
    agent.update(batch, torch_stream(0, "agent", 1))
    moved = {name for name, value in weights_of(agent).items() if not torch.equal(value, before[name])}
    for part in ("actor", "critic"):
        assert {f"{part}.encoder.gru.weight_ih_l0", f"{part}.encoder.gru.weight_hh_l0"} <= moved
    earlier = at_anchor(batch._replace(obs=torch.cat((batch.obs[:, :-1] + 1, batch.obs[:, -1:]), 1)))
    values = [agent.value(history, batch.actions) for history in (at_anchor(batch), earlier)]
    actions = [agent.act(history, generators(48), explore=False) for history in (at_anchor(batch), earlier)]
    assert not torch.equal(*values)
    assert not torch.equal(*actions)


def test_a_bandit_gets_its_published_settings_and_nothing_else_does() -> None:
    assert preset("standard", "bandit:8gaussians")["diffusion_steps"] == 100
    assert preset("standard", "bandit:8gaussians")["eta"] == 3.0
    assert "eta" not in preset("standard", "Hopper-v4")


@pytest.mark.parametrize(
    ("env", "eta", "clip", "reward", "steps"),
    [
        ("d4rl:hopper-medium-v2", 0.2, 2.0, "no", 2_000_000),
        ("d4rl:walker2d-medium-replay-v2", 0.2, 4.0, "no", 2_000_000),
        ("d4rl:antmaze-large-play-v0", 2.0, 5.0, "cql_antmaze", 1_000_000),
        ("d4rl:pen-cloned-v1", 0.1, 8.0, "normalize", 1_000_000),
        ("d4rl:kitchen-complete-v0", 0.005, 9.0, "no", 250_000),
    ],
)
def test_paper_holds_the_published_table(env: str, eta: float, clip: float, reward: str, steps: int) -> None:
    found, guarded = preset("paper", env), eg_ood.preset("paper", env)
    assert (found["eta"], found["actor_clip"], found["critic_clip"]) == (eta, clip, clip)
    assert (found["run.reward"], found["run.steps"]) == (reward, steps)
    assert ("target_candidates" in found) == ("large-play" in env)
    assert {**found, "target_candidates": 1} == {**guarded, "target_candidates": 1}
    for name, settings in (("qg", found), ("eg_ood", guarded)):
        make_config(name, **{key: value for key, value in settings.items() if not key.startswith("run.")})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ratio", "x0_meen", "did you mean 'x0_mean'"), ("norm_weight", (0.0, 5.0), "norm_weight"),
        ("norm_weight", (5.0, 0.8), "0 < low <= high"), ("norm_weight", ("a", "b"), "0 < low <= high"),
        ("guidance_clip", 0.0, "guidance_clip"), ("q_scale", "two", "q_scale"), ("horizon", 0, "horizon"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_one_line(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(tiny().config, **{field: value}).validate()
