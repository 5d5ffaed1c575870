"""The compiled kernels beside torch's own operations: nets and chains of any shape, forward and back."""

from __future__ import annotations

import ctypes
import subprocess

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from trajrl.core.products import exactly, rounded
from trajrl.core.rng import torch_stream
from trajrl.nets import activation as activation_module
from trajrl.nets import fused, net_layout
from trajrl.nets import kernel as kernel_module
from trajrl.nets.activation import kernel_in_use, use_kernel
from trajrl.nets.denoiser import Denoiser, DiffusionPolicy
from trajrl.nets.diffusion import Diffusion
from trajrl.nets.ensemble import Critic, EnsembleMLP
from trajrl.nets.flow import VelocityField
from trajrl.nets.mlp import MLP
from trajrl.nets.solvers import PREDICTS

pytestmark = pytest.mark.skipif(kernel_module.compiled() is None, reason="no C compiler on this machine")
KINDS = sorted(net_layout.ACTIVATIONS)
NORMS = sorted(net_layout.NORMS)


@pytest.fixture(autouse=True)
def torch_again(monkeypatch):
    monkeypatch.setattr(fused, "UNGATED", tuple(net_layout.ACTIVATIONS))  # the others are tried exactly too
    yield
    use_kernel(False)


def rng(seed: int = 0) -> torch.Generator:
    return torch_stream(seed, "test_fused")


def randn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=rng(seed))


def shaken(net: torch.nn.Module) -> torch.nn.Module:
    """Give norms gains and shifts that are no ones and zeros."""
    for norm in getattr(net, "norms", ()):
        torch.nn.init.uniform_(norm.weight, 0.5, 2, generator=rng(2))
        torch.nn.init.normal_(norm.bias, generator=rng(3))
    return net


def with_gradients(net, *inputs: Tensor) -> list[Tensor]:
    """Return what a net gives, and the gradients of a random sum of it, of its inputs and parameters."""
    leaves = [*(x for x in inputs if x.requires_grad), *(p for p in net.parameters() if p.requires_grad)]
    found = net(*inputs)
    slopes = torch.autograd.grad((found * randn(*found.shape, seed=4)).sum(), leaves, allow_unused=True)
    return [found.detach(), *(torch.zeros_like(x) if g is None else g for x, g in zip(leaves, slopes))]


def both_ways(net, *inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return the same by torch's operations and by the kernels."""
    use_kernel(False)
    by_torch = with_gradients(net, *inputs)
    assert use_kernel(True)
    return by_torch, with_gradients(net, *inputs)


def assert_close(by_torch: list[Tensor], by_kernel: list[Tensor], part: float = 2e-5) -> None:
    """Say whether every tensor is off by no more than a part of its largest number."""
    for one, other in zip(by_torch, by_kernel, strict=True):
        assert one.shape == other.shape
        assert not one.numel() or (one - other).abs().max() <= part * (1 + one.abs().max())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 7, 256, 300])
def test_a_perceptron_is_torchs(kind: str, norm: str, rows: int) -> None:
    net = shaken(MLP(23, (64, 33), 6, rng(), activation=kind, layer_norm=norm))
    assert_close(*both_ways(net, randn(rows, 23).requires_grad_()))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_is_torchs(kind: str, norm: str) -> None:
    net = shaken(EnsembleMLP(3, 19, (40, 64, 17), 1, rng(), activation=kind, layer_norm=norm))
    assert_close(*both_ways(net, randn(270, 19).requires_grad_()))


@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.integers(1, 70), min_size=2, max_size=5), rows=st.integers(0, 40), data=st.data(),
)  # fmt: skip
def test_any_shape_is_torchs(widths: list[int], rows: int, data: st.DataObject) -> None:
    kind, norm = data.draw(st.sampled_from(KINDS)), data.draw(st.sampled_from(NORMS))
    net = shaken(MLP(widths[0], widths[1:-1], widths[-1], rng(), activation=kind, layer_norm=norm))
    x = randn(rows, widths[0]).requires_grad_()
    by_torch, by_kernel = both_ways(net, x)
    if (
        norm != "none" and 1 in widths[1:-1]
    ):  # the norm of one number is its shift, its gradient rounding alone
        by_torch, by_kernel = by_torch[:1], by_kernel[:1]
    assert_close(by_torch, by_kernel, 2e-4)
    assert by_kernel[0].shape == (rows, widths[-1])


def test_members_can_be_chosen_and_have_rows_of_their_own() -> None:
    critic, actions = Critic(4, 9, (32, 32), rng(), layer_norm="before"), randn(50, 3).requires_grad_()
    chosen = torch.tensor([2, 0])
    assert_close(*both_ways(Partial(critic, lambda net, a: net(randn(50, 6), a, chosen)), actions))
    own = Partial(critic.net, lambda net, x: net.own_rows(x))
    assert_close(*both_ways(own, randn(4, 20, 9).requires_grad_()))


class Partial(torch.nn.Module):
    """A net called in another way."""

    def __init__(self, net, call) -> None:
        super().__init__()
        self.net, self.call = net, call

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.call(self.net, *inputs)


@pytest.mark.parametrize("what", ["weights alone", "x alone", "nothing"])
def test_gradients_are_found_where_they_are_wanted(what: str) -> None:
    net = MLP(8, (16, 16), 2, rng(), layer_norm="before").requires_grad_(what == "weights alone")
    x = randn(30, 8).requires_grad_(what == "x alone")
    if what == "nothing":
        use_kernel(True)
        assert not net(x).requires_grad
        return
    assert_close(*both_ways(net, x))


def test_nothing_is_done_for_gradients_that_nobody_wants(monkeypatch) -> None:
    asked: list[list[bool]] = []
    found = fused.gradients_of

    def seen(*words):
        asked.append([part is not None for part in found(*words)])
        return found(*words)

    monkeypatch.setattr(fused, "gradients_of", seen)
    use_kernel(True)
    critic, actions = Critic(3, 9, (16, 16), rng()), randn(5, 3).requires_grad_()
    for members in (None, torch.tensor([1])):
        torch.autograd.grad(critic(randn(5, 6), actions, members).sum(), [actions])
        torch.autograd.grad(critic(randn(5, 6), actions, members).sum(), list(critic.parameters()))
    critic(randn(5, 6), actions).sum().backward()
    last = torch.autograd.grad(critic(randn(5, 6), actions).sum(), [critic.net.layers[-1].bias])[0]
    assert (last == 5).all()
    assert (
        [any(one) for one in asked[:5]] == [all(one) for one in asked[:5]] == [False, True, False, True, True]
    )
    assert all(part.grad is not None for part in [actions, *critic.parameters()])


def policy(solver: str, steps: int = 0, width: int = 48, predicts: str = "noise") -> DiffusionPolicy:
    denoiser = Denoiser(4, 11, (width, width, width), rng())
    return DiffusionPolicy(denoiser, Diffusion(5), solver, steps, predicts)


@pytest.mark.parametrize("predicts", PREDICTS)
@pytest.mark.parametrize(
    ("solver", "steps"), [("ddpm", 0), ("ddpm", 3), ("ddim", 0), ("ddim", 2), ("dpm", 0)]
)
def test_a_chain_is_torchs(solver: str, steps: int, predicts: str) -> None:
    if solver == "dpm":
        denoiser = Denoiser(4, 11, (48, 48), rng())
        chain = DiffusionPolicy(denoiser, Diffusion(100), "dpm", predicts=predicts)
    else:
        chain = policy(solver, steps, predicts=predicts)
    if predicts == "action":  # some of which leave the box
        bias = chain.denoiser.net.layers[-1].bias
        bias.data = torch.linspace(-1.3, 1.3, len(bias))
    context, noise = randn(300, 11).requires_grad_(), 2 * randn(chain.draws, 300, 4)
    sampled = Partial(chain, lambda net, c: net.sample(c, noise))
    by_torch, by_kernel = both_ways(sampled, context)
    assert_close(by_torch, by_kernel, 1e-4)
    assert by_kernel[0].abs().max() <= 1
    assert (by_kernel[0].abs() == 1).any()  # the clip is met, forward and back
    fixed = Partial(chain, lambda net, c: net.fixed_by(c, noise[0]))
    assert_close(*both_ways(fixed, context), 1e-4)
    noised = Partial(chain, lambda net, c: net.predict(noise[0], torch.arange(300) % 5, c))
    assert_close(*both_ways(noised, context))


def test_a_flow_is_torchs() -> None:
    flow, noise = VelocityField(9, 3, (40, 40), rng()), randn(60, 3)
    assert_close(
        *both_ways(Partial(flow, lambda net, c: net.sample(c, noise, 4)), randn(60, 9).requires_grad_())
    )


def test_a_row_has_the_same_bits_among_others_and_alone() -> None:
    use_kernel(True)
    net, chain, x = MLP(22, (256, 256), 6, rng(), layer_norm="after"), policy("ddpm"), randn(517, 22)
    context, noise = randn(517, 11), randn(5, 517, 4)
    for products in (exactly, rounded):
        with products(), torch.no_grad():
            whole, acted = net(x), chain.sample(context, noise)
            for low, high in ((0, 1), (3, 4), (255, 258), (500, 517)):
                assert torch.equal(net(x[low:high]), whole[low:high])
            for low, high in ((0, 24), (250, 281), (256, 517)):  # torch's share of a chain wants 24 rows
                assert torch.equal(chain.sample(context[low:high], noise[:, low:high]), acted[low:high])


def test_what_does_not_lie_in_order_is_taken() -> None:
    net = MLP(12, (32, 32), 5, rng())
    use_kernel(True)
    x = randn(24, 40).t()[:, ::2].unflatten(0, (5, 8))  # (5, 8, 12)
    torch.testing.assert_close(net(x), net(x.contiguous()))


def test_it_can_fail_on_no_number() -> None:
    net, x = MLP(6, (16,), 2, rng()), randn(9, 6)
    x[4] = torch.nan
    use_kernel(True)
    assert net(x).isnan().all(1).tolist() == [i == 4 for i in range(9)]


def test_a_weight_that_changes_before_the_way_back_is_refused() -> None:
    net = MLP(6, (16,), 2, rng())
    use_kernel(True)
    found = net(randn(9, 6)).sum()
    with torch.no_grad():
        net.layers[1].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.backward()


def test_a_second_derivative_is_refused() -> None:
    net, x = MLP(6, (16,), 1, rng()), randn(9, 6).requires_grad_()
    use_kernel(True)
    (slope,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("case", ["not asked", "double", "autocast", "tanh", "gelu", "deep", "vmap"])
def test_what_it_does_not_do_torch_does(case: str, monkeypatch) -> None:
    use_kernel(case != "not asked")
    monkeypatch.setattr(fused, "ensemble", None)
    monkeypatch.setattr("trajrl.nets.mlp.perceptron", None)  # a call of it fails
    monkeypatch.setattr(fused, "UNGATED", ("mish", "relu"))
    kind, hidden = (
        {"tanh": "tanh", "gelu": "gelu", "vmap": "relu"}.get(case, "mish"),
        (8,) * (kernel_module.MOST if case == "deep" else 1),
    )
    net, x = MLP(6, hidden, 1, rng(), activation=kind), randn(9, 6)
    if case == "double":
        net, x = net.double(), x.double()
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        found = torch.vmap(net)(x[:, None]) if case == "vmap" else net(x)
    assert found.isfinite().all()


def test_without_memory_a_line_says_so(monkeypatch) -> None:
    use_kernel(True)
    kernel = kernel_in_use()
    assert kernel is not None
    monkeypatch.setattr(kernel, "forward", lambda *_: 1)
    with pytest.raises(MemoryError, match="lower batch_size or width"):
        MLP(6, (16,), 1, rng())(randn(9, 6))


def halves(x: Tensor) -> Tensor:
    """Return x as bfloat16 holds it, in double precision."""
    return x.bfloat16().double()


needs_halves = pytest.mark.skipif(
    not getattr(kernel_module.compiled(), "halves", False), reason="this processor has no products of halves"
)


@needs_halves
@pytest.mark.parametrize(
    ("rows", "inner", "width"), [(256, 22, 256), (37, 100, 70), (1, 3, 5), (290, 64, 33)]
)
def test_halves_are_multiplied_rounded_factors_and_sum_in_single_precision(
    rows: int, inner: int, width: int
) -> None:
    net, x = EnsembleMLP(2, inner, (width,), 3, rng(), activation="relu"), randn(rows, inner)
    x.requires_grad_()
    use_kernel(True)
    with rounded():
        found, *slopes = with_gradients(net, x)
    (first, second), (bias, last) = (
        [getattr(one, name) for one in net.layers] for name in ("weight", "bias")
    )
    z = halves(x) @ halves(first) + bias.double()
    exact = halves(functional.relu(z).float()) @ halves(second) + last.double()
    assert (found - exact).abs().max() < 1e-4 * (1 + exact.abs().max())
    g = randn(*found.shape, seed=4)
    dz = (halves(g) @ halves(second).mT) * (z > 0)
    hidden, flat = halves(functional.relu(z).float()), halves(dz.float())
    wanted = [
        (flat @ halves(first).mT).sum(0),
        halves(x).mT @ flat,
        dz.sum(1, keepdim=True),
        hidden.mT @ halves(g),
    ]
    for slope, truth in zip(slopes, wanted):
        assert (slope - truth).abs().max() < 5e-3 * (1 + truth.abs().max())


@pytest.mark.parametrize("machine", ["x86-64", "x86-64-v3", "x86-64-v4"])
def test_every_kind_of_vector_gives_the_same_numbers(machine: str, tmp_path, monkeypatch) -> None:
    """Compiled without OpenMP too: then one thread does every share in turn."""
    if not runs_here(machine):
        pytest.skip(f"this processor has no vectors of {machine}")
    library = tmp_path / "layers.so"
    flags = [f"-march={machine}" if flag == "-march=native" else flag for flag in kernel_module.FLAGS]
    words = ["cc", *flags, "-Wall", "-Werror", str(kernel_module.SOURCE), "-o", str(library), "-lm"]
    subprocess.run(words, check=True)
    other = kernel_module.Kernel(ctypes.CDLL(str(library)))
    net = shaken(MLP(23, (64, 33), 6, rng(), layer_norm="before"))
    by_torch, _ = both_ways(net, randn(300, 23).requires_grad_())
    monkeypatch.setattr(activation_module, "_kernel", other)
    assert_close(by_torch, with_gradients(net, randn(300, 23).requires_grad_()))


def runs_here(machine: str) -> bool:
    """Say whether this processor has a level's vectors."""
    words = {"x86-64": "sse2", "x86-64-v3": "fma", "x86-64-v4": "avx512vl"}
    return words[machine] in open("/proc/cpuinfo").read().split()
