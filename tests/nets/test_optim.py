"""The optimiser touches its own parameters, clips after backward, decays as asked, and resumes."""

from __future__ import annotations

from math import cos, pi

import pytest
import torch
from torch import nn

from trajrl.core.rng import torch_stream
from trajrl.nets.mlp import MLP
from trajrl.nets.normaliser import Normaliser
from trajrl.nets.optim import Optimiser, decay_factor


def net() -> MLP:
    return MLP(2, (4,), 1, torch_stream(0, "init"))


def loss_of(model: nn.Module) -> torch.Tensor:
    return 100 * (model(torch.tensor([[1.0, -1.0], [0.5, 2.0]])) - 3).square().mean()


def test_a_step_is_adams_and_reports_the_norm_before_the_clip() -> None:
    model, twin = net(), net()
    reference = torch.optim.Adam(twin.parameters(), 1e-2)
    optimiser = Optimiser(model.parameters(), 1e-2, clip=0.5)
    for _ in range(3):
        norm = optimiser.step(loss_of(model))
        reference.zero_grad()
        loss_of(twin).backward()
        expected = nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        reference.step()
        assert norm.item() == pytest.approx(expected.item(), rel=1e-5)
        assert norm > 0.5
    for one, other in zip(model.parameters(), twin.parameters()):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_gradients_of_transposed_weights_reach_the_right_entries() -> None:
    """The gradient of W.t() comes back column by column; the fused step must not read it row by row."""
    rng = torch_stream(0, "test")
    weight, x = nn.Parameter(torch.randn(3, 4, generator=rng)), torch.randn(5, 4, generator=rng)
    twin = nn.Parameter(weight.detach().clone())
    Optimiser([weight], 1e-2).step((x @ weight.t()[:2].t().t().repeat(2, 1)).square().sum())
    reference = torch.optim.Adam([twin], 1e-2)
    (x @ twin.t()[:2].t().t().repeat(2, 1)).square().sum().backward()
    reference.step()
    torch.testing.assert_close(weight, twin)


def test_no_other_network_gets_a_gradient() -> None:
    model, other = net(), net()
    Optimiser(model.parameters(), 1e-2).step(loss_of(nn.Sequential(model, nn.Linear(1, 2), other)))
    assert all(p.grad is None for p in [*model.parameters(), *other.parameters()])


def test_a_parameter_without_a_share_in_the_loss_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="not have been used"):
        Optimiser([*net().parameters()], 1e-2).step(loss_of(net()))


def test_the_three_readings_of_the_cosine() -> None:
    assert decay_factor("update", 500, 1000) == pytest.approx(0.5)
    assert decay_factor("epoch", 999, 2_000_000) == 1
    assert decay_factor("epoch", 1_000_500, 2_000_000) == pytest.approx(0.5)
    last = decay_factor("as_run", 2_000_000, 2_000_000)
    assert last == pytest.approx((1 + cos(pi / 50)) / 2) == pytest.approx(0.99901, abs=1e-5)
    assert decay_factor("none", 500, 1000) == decay_factor("update", 500, 0) == 1
    assert decay_factor("update", 2000, 1000) == 0


def test_learning_rate_falls_with_the_updates() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimiser = Optimiser([weight], 1.0, decay="update", decay_steps=2)
    moves = []
    for update in range(3):
        optimiser.prepare(update)
        before = weight.item()
        optimiser.step(weight.sum())
        moves.append(before - weight.item())
    assert moves == pytest.approx([1.0, 0.5, 0.0], abs=1e-4)


def test_weight_decay_is_decoupled() -> None:
    weight = nn.Parameter(torch.ones(1))
    Optimiser([weight], 0.1, weight_decay=0.5).step(weight.sum() * 0)
    assert weight.item() == pytest.approx(1 - 0.1 * 0.5)


def test_state_goes_on_where_it_was() -> None:
    first, second = net(), net()
    one, other = (Optimiser(m.parameters(), 1e-2, decay="update", decay_steps=9) for m in (first, second))
    one.step(loss_of(first))
    second.load_state_dict(first.state_dict())
    other.load_state_dict(one.state_dict())
    for model, optimiser in ((first, one), (second, other)):
        optimiser.prepare(1)
        optimiser.step(loss_of(model))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    assert other.count == 2


def test_in_half_precision_the_next_loss_sees_the_stepped_weights() -> None:
    model, x = nn.Linear(3, 1), torch.ones(4, 3)
    optimiser = Optimiser(model.parameters(), 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        optimiser.step(model(x).sum())
        after = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(after, model(x))


def test_unknown_decay_is_refused() -> None:
    with pytest.raises(ValueError, match="decay is one of"):
        Optimiser(net().parameters(), 1e-2, decay="linear")


def test_normaliser_centres_scales_and_leaves_flat_columns_alone() -> None:
    known = Normaliser(2, True, {"obs_mean": [1.0, 2.0], "obs_std": [4.0, 0.0]})
    assert known(torch.tensor([[5.0, 3.0]])).tolist() == [[1.0, 1.0]]
    x = torch.ones(1, 2)
    assert Normaliser(2, False, {"obs_mean": [1.0, 2.0], "obs_std": [4.0, 0.0]})(x) is x
    with pytest.raises(ValueError, match="statistics of 3"):
        Normaliser(2, True, {"obs_mean": torch.zeros(3), "obs_std": torch.ones(3)})
    with pytest.raises(ValueError, match="give make_agent statistics"):
        Normaliser(2, True)(x)
    late = Normaliser(2, True)
    late.load_state_dict(known.state_dict())
    assert torch.equal(late(x), known(x))
