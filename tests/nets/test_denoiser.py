"""The denoiser against the plain network that it stands for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from trajrl.core.rng import torch_stream
from trajrl.nets.denoiser import Denoiser, DiffusionPolicy
from trajrl.nets.diffusion import Diffusion
from trajrl.nets.solvers import PREDICTS

ACT, CTX, ROWS = 2, 3, 6


def build(cos_first: bool = False, solver: str = "ddpm", predicts: str = "noise") -> DiffusionPolicy:
    denoiser = Denoiser(ACT, CTX, (8, 8), torch_stream(0, "init"), cos_first=cos_first)
    return DiffusionPolicy(denoiser, Diffusion(5), solver, predicts=predicts)


def plain(denoiser: Denoiser, x: Tensor, level: int, context: Tensor) -> Tensor:
    """eps of cat(x, temb, context), layer by layer."""
    angles = level * torch.exp(-torch.arange(8) * math.log(10000) / 7)
    temb = torch.cat((angles.sin(), angles.cos()))
    for i, layer in enumerate(denoiser.time_mlp.layers):
        temb = layer(functional.mish(temb) if i else temb)
    y = torch.cat((x, temb.expand(len(x), -1), context), 1)
    for i, layer in enumerate(denoiser.net.layers):
        y = layer(functional.mish(y) if i else y)
    return y


def inputs() -> tuple[Tensor, Tensor]:
    rng = torch_stream(1, "test")
    return torch.randn(ROWS, ACT, generator=rng), torch.randn(ROWS, CTX, generator=rng)


@pytest.mark.parametrize("level", [0, 3, 4])
def test_split_first_layer_is_the_plain_network(level: int) -> None:
    policy, (x, context) = build(), inputs()
    found = policy.predict(x, torch.full((ROWS,), level), context)
    torch.testing.assert_close(found, plain(policy.denoiser, x, level, context))


def test_a_level_per_row_is_each_rows_own() -> None:
    policy, (x, context) = build(), inputs()
    levels = torch.tensor([0, 1, 2, 3, 4, 2])
    found = policy.predict(x, levels, context)
    for row, level in enumerate(levels.tolist()):
        one = slice(row, row + 1)
        torch.testing.assert_close(found[one], plain(policy.denoiser, x[one], level, context[one]))


@pytest.mark.parametrize("level", [0, 3, 4])
def test_a_net_of_actions_says_which_noise_is_left(level: int) -> None:
    policy, (x, context) = build(predicts="action"), inputs()
    abar = float(policy.diffusion.abar[level])
    action = plain(policy.denoiser, x, level, context)
    eps = policy.predict(x, torch.full((ROWS,), level), context)
    torch.testing.assert_close(math.sqrt(abar) * action + math.sqrt(1 - abar) * eps, x)


def test_weights_are_not_read_as_what_they_do_not_give() -> None:
    of_noise, of_action = (build(predicts=predicts) for predicts in PREDICTS)
    for one, other, said in ((of_noise, of_action, "Missing"), (of_action, of_noise, "Unexpected")):
        with pytest.raises(RuntimeError, match=f"{said} key.*gives_action"):
            other.load_state_dict(one.state_dict())
    build(predicts="action").load_state_dict(of_action.state_dict())


@pytest.mark.parametrize("predicts", PREDICTS)
def test_the_error_is_the_nets_own(predicts: str) -> None:
    policy, (eps, context) = build(predicts=predicts), inputs()
    actions, level = torch.linspace(-1, 1, ROWS * ACT).view(ROWS, ACT), 2
    abar = float(policy.diffusion.abar[level])
    net = plain(policy.denoiser, math.sqrt(abar) * actions + math.sqrt(1 - abar) * eps, level, context)
    wanted = net - (eps if predicts == "noise" else actions)
    torch.testing.assert_close(policy.error(actions, torch.full((ROWS,), level), eps, context), wanted)


def test_gradients_are_those_of_the_plain_network() -> None:
    policy, (x, context) = build(), inputs()
    parameters = list(policy.denoiser.parameters())
    split = torch.autograd.grad(policy.predict(x, torch.full((ROWS,), 3), context).square().sum(), parameters)
    whole = torch.autograd.grad(plain(policy.denoiser, x, 3, context).square().sum(), parameters)
    for one, other in zip(split, whole):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_first_layer_is_one_weight_in_the_public_order() -> None:
    denoiser = build().denoiser
    assert denoiser.net.layers[0].weight.shape == (8, ACT + 16 + CTX)
    assert len([name for name, _ in denoiser.named_parameters() if "net.layers.0" in name]) == 2


def test_cosines_may_come_first_with_another_spacing() -> None:
    denoiser = build(cos_first=True).denoiser
    angles = 3.0 * torch.exp(-torch.arange(8) * math.log(10000) / 8)
    spread = torch.cat((angles.cos(), angles.sin()))
    expected = denoiser.time_mlp(spread[None])
    torch.testing.assert_close(denoiser.embed(torch.tensor([3.0])), expected)


def test_context_is_read_once_per_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, (_, context) = build(), inputs()
    calls: list[int] = []
    condition = policy.denoiser.condition
    monkeypatch.setattr(policy.denoiser, "condition", lambda c: calls.append(len(c)) or condition(c))
    policy.sample(context, torch.randn(5, ROWS, ACT, generator=torch_stream(2, "test")))
    assert calls == [ROWS]


def test_odd_time_embeddings_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        Denoiser(ACT, CTX, (8,), torch_stream(0, "init"), time_dim=7)
