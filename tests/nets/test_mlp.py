"""MLPs and ensembles of them, and the activation of our own."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from trajrl.core.rng import torch_stream
from trajrl.nets import activation as activation_module
from trajrl.nets import kernel as kernel_module
from trajrl.nets.activation import ACTIVATIONS, activation, mish, use_kernel
from trajrl.nets.ensemble import Critic, EnsembleMLP
from trajrl.nets.mlp import INITS, MLP


def rng() -> torch.Generator:
    return torch_stream(0, "init")


def rows(count: int = 7, width: int = 3) -> torch.Tensor:
    return torch.randn(count, width, generator=torch_stream(1, "test"))


def test_mish_is_torchs_with_its_derivative() -> None:
    x = torch.linspace(-120, 120, 4801, dtype=torch.float64, requires_grad=True)
    ours, theirs = mish(x), functional.mish(x)
    assert (ours - theirs).abs().max() < 1e-13
    slopes = [torch.autograd.grad(y.sum(), x)[0] for y in (ours, theirs)]
    assert (slopes[0] - slopes[1]).abs().max() < 1e-13
    with torch.no_grad():
        assert torch.equal(mish(x), ours)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_mish_in_low_precision_is_as_exact_as_torchs(kind: torch.dtype) -> None:
    exact = torch.linspace(-30, 30, 2001, dtype=torch.float64).to(kind)
    truth = functional.mish(exact.double())
    scale = 1 + exact.double().abs()
    ours, theirs = ((f(exact).double() - truth).abs() / scale for f in (mish, functional.mish))
    assert mish(exact).dtype == kind
    assert ours.max() <= 1.1 * theirs.max() + torch.finfo(torch.float32).eps


def test_mish_of_every_number_in_half_precision_is_rounded_once() -> None:
    x = torch.arange(2**16).to(torch.int16).view(torch.bfloat16)
    x = x[x.isfinite()].requires_grad_()
    exact = x.detach().double().requires_grad_()
    truth, found = functional.mish(exact), mish(x)
    assert torch.equal(found, truth.bfloat16())
    with torch.no_grad():
        assert torch.equal(mish(x), found)
    (slope,), (ours,) = (torch.autograd.grad(y.sum(), at) for y, at in ((truth, exact), (found, x)))
    torch.testing.assert_close(ours.double(), slope, rtol=0, atol=5e-3)  # rounded twice


@pytest.fixture
def kernel():
    if not use_kernel(True):
        pytest.skip("there is no C compiler here")
    yield
    use_kernel(False)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_compiled_mish_is_as_exact(kernel, kind: torch.dtype) -> None:
    x = torch.linspace(-30, 30, 2001, dtype=torch.float64).to(kind).requires_grad_()
    exact = x.detach().double().requires_grad_()
    truth, found = functional.mish(exact), mish(x)
    (slope,), (ours,) = (torch.autograd.grad(y.sum(), at) for y, at in ((truth, exact), (found, x)))
    close = {"rtol": 1e-6, "atol": 1e-6} if kind == torch.float32 else {"rtol": 4e-3, "atol": 1e-5}
    assert found.dtype == kind
    torch.testing.assert_close(found.double(), truth, **close)
    torch.testing.assert_close(ours.double(), slope, rtol=0, atol=1e-6 if kind == torch.float32 else 5e-3)
    with torch.no_grad():
        assert torch.equal(mish(x), found)


def test_the_compiled_mish_knows_what_is_no_number(kernel) -> None:
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, -1e30, 1e30], requires_grad=True)
    found = mish(x)
    (slope,) = torch.autograd.grad(found.nan_to_num().sum(), x)
    assert found[0].isnan()
    assert found[1:].tolist() == pytest.approx([torch.inf, 0, 0, 1e30])
    assert slope[3:].tolist() == pytest.approx([0, 1])


def test_the_compiled_mish_gives_a_row_the_same_bits_among_others(kernel) -> None:
    x, of = torch.randn(64, 33, generator=torch_stream(1, "test")), activation("mish")
    with torch.no_grad():
        assert torch.equal(of(x)[3:4], of(x[3:4]))
        assert torch.equal(of(x[:, ::2]), of(x[:, ::2].contiguous()))  # what does not lie in order


def test_without_a_compiler_torchs_operations_serve(monkeypatch, capsys) -> None:
    monkeypatch.setattr(kernel_module, "COMPILERS", ("no-such-compiler",))
    monkeypatch.setattr(activation_module, "compiled", kernel_module.compiled.__wrapped__)
    assert not use_kernel(True)
    assert "there is no C compiler here" in capsys.readouterr().out
    assert torch.equal(mish(rows()), mish(rows()))


def test_mish_in_half_precision_takes_what_does_not_lie_in_order() -> None:
    x = rows().bfloat16()[:, ::2].t().unflatten(1, (-1, 1))
    assert torch.equal(mish(x), mish(x.contiguous()))
    assert mish(x[:0]).shape == x[:0].shape


def test_mish_passes_a_numerical_gradient_check() -> None:
    assert torch.autograd.gradcheck(mish, rows().double().requires_grad_())


def test_a_second_derivative_of_mish_is_refused() -> None:
    x = rows().requires_grad_()
    (slope,) = torch.autograd.grad(mish(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_a_number_has_the_same_bits_wherever_it_stands(name: str, threads: int) -> None:
    x, before = rows(3001, 33), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            whole = activation(name)(x)
            for count in (1, 24, 40, 497, 504, 992, 1000, 2000):
                assert torch.equal(activation(name)(x[:count]), whole[:count])
                assert torch.equal(activation(name)(x[-count:]), whole[-count:])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("norm", ["none", "before", "after"])
def test_layers_stand_in_the_order_asked_for(norm: str) -> None:
    net, x = MLP(3, (4,), 2, rng(), activation="relu", layer_norm=norm), rows()
    hidden = net.layers[0](x)
    if norm == "before":
        hidden = functional.layer_norm(hidden, (4,)).relu()
    elif norm == "after":
        hidden = functional.layer_norm(hidden.relu(), (4,))
    else:
        hidden = hidden.relu()
    torch.testing.assert_close(net(x), net.layers[1](hidden))


@pytest.mark.parametrize("norm", ["none", "before", "after"])
def test_ensemble_is_its_members_one_by_one(norm: str) -> None:
    ensemble = EnsembleMLP(3, 3, (8, 8), 2, rng(), activation="gelu", layer_norm=norm)
    x, found = rows(), ensemble(rows())
    assert found.shape == (3, 7, 2)
    for j in range(3):
        y = x
        for i, layer in enumerate(ensemble.layers):
            y = y @ layer.weight[j] + layer.bias[j]
            if i < 2 and norm == "before":
                y = functional.layer_norm(y, (8,))
            if i < 2:
                y = ACTIVATIONS["gelu"](y)
            if i < 2 and norm == "after":
                y = functional.layer_norm(y, (8,))
        torch.testing.assert_close(found[j], y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ensemble(x, torch.tensor([2, 0])), found[[2, 0]])


def test_members_of_an_ensemble_learn_apart() -> None:
    critic, x = Critic(2, 5, (8,), rng()), rows()
    value = critic(x, rows(7, 2))
    assert value.shape == (2, 7)
    gradients = torch.autograd.grad(value[1].sum(), list(critic.parameters()))
    assert all((g[0] == 0).all() and (g[1] != 0).any() for g in gradients)


def test_members_start_apart_and_the_same_seed_starts_the_same() -> None:
    one, other = (Critic(2, 5, (8,), rng()) for _ in range(2))
    for a, b in zip(one.parameters(), other.parameters()):
        assert torch.equal(a, b)
        assert not torch.equal(a[0], a[1])


@pytest.mark.parametrize("init", INITS)
def test_weights_come_from_the_generator_alone(init: str) -> None:
    before = torch.get_rng_state()
    first, second = (MLP(3, (8,), 2, rng(), init=init) for _ in range(2))
    Critic(2, 3, (8,), rng(), init=init)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))


def test_inits_have_their_laws() -> None:
    wide = MLP(400, (300,), 1, rng()).layers[0]
    assert wide.weight.abs().max() <= 0.05
    assert wide.weight.std().item() == pytest.approx(0.05 / 3**0.5, rel=0.02)
    assert wide.bias.abs().max() > 0.04
    xavier = MLP(400, (300,), 1, rng(), init="xavier").layers[0]
    assert xavier.weight.std().item() == pytest.approx((2 / 700) ** 0.5, rel=0.02)
    assert (xavier.bias == 0).all()
    square = MLP(16, (16,), 1, rng(), init="orthogonal").layers[0].weight
    torch.testing.assert_close(square @ square.T, 2 * torch.eye(16), rtol=1e-4, atol=1e-5)


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(ValueError, match="there are: elu, gelu"):
        activation("mihs")
    with pytest.raises(ValueError, match="layer_norm is one of"):
        MLP(3, (8,), 2, rng(), layer_norm="around")
    with pytest.raises(ValueError, match="layer_norm is one of"):
        Critic(2, 3, (8,), rng(), layer_norm="around")
    with pytest.raises(ValueError, match="no init"):
        MLP(3, (8,), 2, rng(), init="zero")


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_mish_of_infinity_is_infinity_or_nothing_with_its_slope(kind: torch.dtype) -> None:
    x = torch.tensor([torch.inf, 1e38, -1e38, -torch.inf], dtype=kind)
    due = [torch.inf, x[1].item(), 0.0, 0.0]
    assert mish(x).tolist() == due
    x.requires_grad_()
    mish(x).sum().backward()
    assert mish(x).tolist() == due
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_a_net_is_made_without_the_import_of_symbols() -> None:
    """torch.nn.utils.skip_init would load sympy, over a second of the processor at every command."""
    code = (
        "import sys, torch; from trajrl.nets.mlp import MLP; from trajrl.core.rng import torch_stream\n"
        "before = torch.get_rng_state(); MLP(3, (4,), 2, torch_stream(0, 'init'))\n"
        "assert torch.equal(before, torch.get_rng_state()); sys.exit('sympy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
