"""eg_ood: the guard by hand; without it the agent is qg to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from flow_windows import ACT, OBS, at_anchor, generators, random_windows, weights_of
from torch import Tensor

from trajrl.agents import make_agent
from trajrl.core.rng import torch_stream
from trajrl.nets.support import Threshold, denoising_score, score_levels

SMALL = {"width": 16, "depth": 2, "gru_width": 8, "candidates": 4, "ema_every": 1, "ema_start": 2}


def tiny(**config: Any) -> Any:
    return make_agent("eg_ood", OBS, ACT, seed=1, **{**SMALL, "support_samples": 3, **config})


def guarded(kappa: float = 1.0, **config: Any) -> Any:
    """Return an agent whose guard is on."""
    agent = tiny(behaviour_steps=1, calibration_steps=1, **config)
    for step in (1, 2):
        agent.update(random_windows(agent.spec, seed=step), torch_stream(0, "agent", step))
    assert agent.guarded
    agent.threshold.kappa = torch.tensor(kappa)
    return agent


def raised(agent: Any, by: float) -> Any:
    """Raise the online critic by a number, its target not."""
    with torch.no_grad():
        agent.critic.head.net.layers[-1].bias.add_(by)
    return agent


def penalty(agent: Any) -> tuple[Tensor, list[Tensor]]:
    batch = random_windows(agent.spec)
    noise = agent.draw_noise(batch, torch_stream(0, "agent", 3))
    now = at_anchor(batch)
    view = agent.context(agent.critic.encoder, now)
    loss, _ = agent.penalty(batch, now, view, noise)
    return loss, list(torch.autograd.grad(loss, list(agent.critic.parameters())))


def test_penalty_has_a_gradient_where_actions_are_off_the_data() -> None:
    loss, gradients = penalty(raised(guarded(kappa=1e-6), 5.0))
    assert loss.item() > 1
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_penalty_has_exactly_no_gradient_on_the_data() -> None:
    loss, gradients = penalty(raised(guarded(kappa=1e9), 5.0))
    assert loss.item() == 0
    assert all(bool((gradient == 0).all()) for gradient in gradients)


def test_penalty_ends_where_q_is_below_what_the_data_supports() -> None:
    loss, gradients = penalty(raised(guarded(kappa=1e-6), -50.0))
    assert loss.item() == 0
    assert all(bool((gradient == 0).all()) for gradient in gradients)


def test_penalty_is_part_of_the_critics_loss_and_pushes_q_down() -> None:
    agent = raised(guarded(kappa=1e-6, penalty=3.0), 5.0)
    batch = random_windows(agent.spec)
    noise = agent.draw_noise(batch, torch_stream(0, "agent", 3))
    with_penalty, td_error, metrics = agent.critic_loss(batch, noise)
    none = replace(agent.config, penalty=0.0)
    agent.config = none
    without = agent.critic_loss(batch, noise)[0]
    assert with_penalty.item() == pytest.approx(without.item() + metrics["guard/penalty"].item(), rel=1e-5)
    assert torch.equal(td_error, agent.critic_loss(batch, noise)[1])
    direction = torch.autograd.grad(with_penalty - without, agent.critic.head.net.layers[-1].bias)[0]
    assert (direction > 0).all()  # a step down the loss lowers Q


def test_penalty_is_the_mean_over_critics_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = guarded(kappa=1.0)
    batch = random_windows(agent.spec, 2)._replace(
        weight=torch.tensor([1.0, 2.0]), mask=torch.ones(2, 1, dtype=torch.bool)
    )
    noise = agent.draw_noise(batch, torch_stream(0, "agent", 3))
    monkeypatch.setattr(agent, "score", lambda *given: torch.tensor([1.5, 9.0]))  # gates .5 and 1
    monkeypatch.setattr(agent, "support_value", lambda *given: torch.tensor([1.0, 1.0]))
    q = torch.tensor([[3.0, 2.0], [0.0, 4.0]])
    monkeypatch.setattr(agent.critic.head, "forward", lambda view, actions: q)
    loss, metrics = agent.penalty(batch, at_anchor(batch), torch.zeros(2, OBS), noise)
    # rows: .5 (4 + 0) / 2 = 1 with weight 1, (1 + 9) / 2 = 5 with weight 2
    assert loss.item() == pytest.approx((1 + 10) / 2)
    assert metrics["guard/ood_share"].item() == 1


def test_bootstrap_is_bounded_by_support_as_far_as_the_action_is_off_the_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = guarded(kappa=2.0)
    batch = random_windows(agent.spec, 3)
    noise = agent.draw_noise(batch, torch_stream(0, "agent", 3))
    monkeypatch.setattr(agent, "score", lambda *given: torch.tensor([1.0, 3.0, 8.0]))  # gates 0, .5, 1
    monkeypatch.setattr(agent, "support_value", lambda *given: torch.tensor([2.0, 2.0, 2.0]))
    monkeypatch.setattr(
        agent.target.head, "forward", lambda view, actions: torch.tensor([[4.0, 4, 4], [5, 5, 5]])
    )
    assert agent.next_value(at_anchor(batch), noise).tolist() == pytest.approx([4, 3, 2])


def test_support_is_the_best_behaviour_action_under_the_least_target_critic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = guarded()
    actions = torch.tensor([[0.1, 0], [0.5, 0], [-0.2, 0], [0.9, 0], [0.3, 0], [0.4, 0]])
    monkeypatch.setattr(agent.behaviour.head, "sample", lambda context, noise: actions)
    monkeypatch.setattr(agent.target.head, "forward", lambda view, a: torch.stack([2 * a[:, 0], 1 - a[:, 0]]))
    # min(2a, 1 - a): .2 .5 -.4 | .1 .6 .6
    found = agent.support_value(torch.zeros(2, OBS), torch.zeros(2, OBS), torch.zeros(1, 6, ACT))
    assert found.tolist() == pytest.approx([0.5, 0.6])


def test_with_an_infinite_threshold_it_is_qg_to_the_bit() -> None:
    ours = tiny(behaviour_steps=1, calibration_steps=1, gamma=0.9, history=3, horizon=2)
    qg = make_agent("qg", OBS, ACT, seed=1, gamma=0.9, history=3, horizon=2, **SMALL)
    for step in range(6):
        batch = random_windows(ours.spec, seed=step)
        updates = [agent.update(batch, torch_stream(0, "agent", step)) for agent in (ours, qg)]
        assert torch.equal(updates[0].td_error, updates[1].td_error)
        ours.threshold.kappa = torch.tensor(torch.inf)
    assert ours.guarded
    own = weights_of(ours)
    for name, value in weights_of(qg).items():
        assert torch.equal(own[name], value), name
    history = at_anchor(batch, 7)
    assert torch.equal(*(agent.act(history, generators(7), explore=False) for agent in (ours, qg)))


def test_a_finite_threshold_makes_a_difference() -> None:
    agents = guarded(kappa=1e-6), guarded(kappa=1e9)
    batch = random_windows(agents[0].spec)
    for agent in agents:
        raised(agent, 5.0).update(batch, torch_stream(0, "agent", 3))
    left, right = (weights_of(agent) for agent in agents)
    assert any(not torch.equal(left[name], right[name]) for name in left if name.startswith("critic"))


def test_behaviour_model_learns_first_and_is_frozen_then() -> None:
    agent = tiny(behaviour_steps=2, calibration_steps=1)
    moved = []
    for step in range(5):
        before = weights_of(agent)
        agent.update(random_windows(agent.spec, seed=step), torch_stream(0, "agent", step))
        after = weights_of(agent)
        moved.append(any(not torch.equal(after[n], before[n]) for n in before if n.startswith("behaviour")))
    assert moved == [True, True, False, False, False]


def test_behaviour_model_learns_for_a_quarter_of_the_run_unless_set() -> None:
    assert tiny(decay_steps=400).config.behaviour_updates == 100
    assert tiny(decay_steps=400, behaviour_steps=7).config.behaviour_updates == 7


def test_threshold_is_the_quantile_of_the_datas_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = tiny(behaviour_steps=1, calibration_steps=2, quantile=0.5)
    scores = iter([torch.tensor([1.0, 2.0, 9.0]), torch.tensor([4.0, 3.0])])
    batches = [random_windows(agent.spec, 3), random_windows(agent.spec, 3), random_windows(agent.spec, 2)]
    monkeypatch.setattr(agent, "score", lambda *given: next(scores))
    kappas = []
    for step, batch in enumerate(batches):
        whole = batch._replace(mask=torch.ones_like(batch.mask), steps=batch.steps.clamp(min=1))
        agent.update(whole, torch_stream(0, "agent", step))
        kappas.append(float(agent.threshold.kappa))
    assert kappas == [float("inf"), float("inf"), 3.0]


def test_threshold_travels_with_the_agent() -> None:
    agent = guarded(kappa=0.7)
    other = make_agent("eg_ood", OBS, ACT, seed=9, **vars(agent.config))
    other.load_state_dict(agent.state_dict())
    history = at_anchor(random_windows(agent.spec), 5)
    assert float(other.threshold.kappa) == pytest.approx(0.7)
    assert torch.equal(*(each.act(history, generators(5), explore=False) for each in (agent, other)))


def test_gate_by_hand() -> None:
    threshold = Threshold(1, ACT, torch.Generator(), torch.device("cpu"))
    assert threshold.gate(torch.tensor([0.0, 1e9])).tolist() == [0, 0]
    threshold.kappa = torch.tensor(2.0)
    assert threshold.gate(torch.tensor([1.0, 2.0, 3.0, 5.0])).tolist() == pytest.approx([0, 0, 0.5, 1])


def test_score_is_the_mean_squared_error_over_levels_and_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny().behaviour.head
    levels, noise = torch.arange(2), torch.ones(3, 2, ACT)
    off = torch.tensor([0.0, 1.0, 1.0, 2.0, 3.0, 3.0])  # of each row at each level

    def predict(x: Tensor, level: Tensor, context: Tensor) -> Tensor:
        assert level.tolist() == [0, 1, 0, 1, 0, 1]
        return 1 + off[:, None].expand(-1, ACT)

    monkeypatch.setattr(policy, "predict", predict)
    found = denoising_score(policy, levels, torch.zeros(3, OBS), torch.zeros(3, ACT), noise)
    assert found.tolist() == pytest.approx([0.5, 2.5, 9.0])


def test_levels_of_a_score_are_all_of_a_few_and_spread_over_many() -> None:
    assert score_levels(5, 8).tolist() == [0, 1, 2, 3, 4]
    assert score_levels(10, 8).tolist() == list(range(10))
    assert score_levels(100, 8).tolist() == [6, 18, 31, 43, 56, 68, 81, 93]


def test_candidates_off_the_data_are_left_out_unless_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = guarded(kappa=1.0, temperature=0.0)
    history = at_anchor(random_windows(agent.spec), 2)
    seen: list[Tensor] = []

    def forward(view: Tensor, actions: Tensor) -> Tensor:
        seen.append(actions[:8])
        return torch.arange(len(actions), dtype=torch.float32).expand(2, -1)  # the last candidate is best

    monkeypatch.setattr(agent.target.head, "forward", forward)
    rows = torch.tensor([0.0, 0.5, 0.2, 7.0, 9.0, 9.0, 9.0, 9.0])  # row 0: the last is off; row 1: all are
    monkeypatch.setattr(agent, "score", lambda context, actions, noise: rows.repeat(len(actions) // 8))
    found = agent.act(history, generators(2), explore=False)[:, 0]
    assert torch.equal(found, seen[0][[2, 7]])


@pytest.mark.parametrize(("field", "value"), [("quantile", 0.0), ("penalty", -1.0), ("support_samples", 0)])
def test_a_wrong_setting_is_one_line(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        replace(tiny().config, **{field: value}).validate()
