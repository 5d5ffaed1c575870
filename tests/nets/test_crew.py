"""The compiled kernels on several threads: a row's bits are one thread's, sums are added in order."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from trajrl.core.products import exactly, rounded
from trajrl.core.rng import torch_stream
from trajrl.nets import activation as activation_module
from trajrl.nets import fused, net_layout
from trajrl.nets import kernel as kernel_module
from trajrl.nets.activation import use_kernel
from trajrl.nets.denoiser import Denoiser, DiffusionPolicy
from trajrl.nets.diffusion import Diffusion
from trajrl.nets.ensemble import EnsembleMLP
from trajrl.nets.mlp import MLP

pytestmark = pytest.mark.skipif(kernel_module.compiled() is None, reason="no C compiler on this machine")
ROWS = (0, 1, 70, 128, 131, 300, 700)  # shares of 64 rows at least: of 128 two threads have one each


@pytest.fixture(autouse=True)
def kernels(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(fused, "UNGATED", tuple(net_layout.ACTIVATIONS))
    before = torch.get_num_threads()
    assert use_kernel(True)
    yield
    use_kernel(False)
    torch.set_num_threads(before)


def randn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch_stream(seed, "test_crew"))


def on(threads: int, call: Callable[[], list[Tensor]]) -> list[Tensor]:
    torch.set_num_threads(threads)
    return call()


def slopes(found: Tensor, *leaves: Tensor) -> list[Tensor]:
    """Return what was found, and the gradients of a random sum of it."""
    return [found.detach(), *torch.autograd.grad((found * randn(*found.shape, seed=4)).sum(), leaves)]


def perceptron(rows: int, norm: str) -> Callable[[], list[Tensor]]:
    net, x = MLP(23, (64, 33), 6, torch_stream(0, "net"), layer_norm=norm), randn(rows, 23).requires_grad_()
    return lambda: slopes(net(x), x, *net.parameters())


def ensemble(members: int, rows: int, norm: str = "before") -> Callable[[], list[Tensor]]:
    net = EnsembleMLP(members, 19, (40, 17), 1, torch_stream(0, "net"), layer_norm=norm)
    x = randn(members, rows, 19).requires_grad_()
    return lambda: slopes(net.own_rows(x), x, *net.parameters())


def chain(rows: int, solver: str = "ddpm") -> Callable[[], list[Tensor]]:
    denoiser = Denoiser(4, 11, (48, 48, 48), torch_stream(0, "net"))
    policy = DiffusionPolicy(denoiser, Diffusion(5), solver)
    context, noise = randn(rows, 11).requires_grad_(), 2 * randn(policy.draws, rows, 4)
    return lambda: slopes(policy.sample(context, noise), context, *policy.parameters())


def assert_same_work(call: Callable[[], list[Tensor]], threads: int) -> None:
    """What is of one row is one thread's bit for bit, sums but for their order; twice the same."""
    one, several, again = on(1, call), on(threads, call), on(threads, call)
    for a, b, c in zip(one, several, again, strict=True):
        assert torch.equal(b, c)
        torch.testing.assert_close(b, a, rtol=1e-4, atol=2e-5 * (1 + float(a.abs().max() if len(a) else 0)))
    assert torch.equal(one[0], several[0])  # the output
    assert torch.equal(one[1], several[1])  # and the gradient of the input


@pytest.mark.parametrize("products", [exactly, rounded])
@pytest.mark.parametrize("threads", [2, 3, 7])
@pytest.mark.parametrize("rows", ROWS)
def test_a_nets_rows_are_shared(rows: int, threads: int, products: Callable[[], Any]) -> None:
    for norm in net_layout.NORMS:
        with products():
            assert_same_work(perceptron(rows, norm), threads)


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("rows", [20, 64, 270])
def test_members_are_shared_where_they_go_up_and_rows_else(rows: int, threads: int, members: int) -> None:
    call = ensemble(members, rows)
    assert_same_work(call, threads)
    if members % threads == 0:  # every member's sums are one thread's
        assert all(map(torch.equal, on(1, call), on(threads, call)))


@pytest.mark.parametrize("solver", ["ddpm", "ddim"])
@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("rows", [1, 130, 300, 600])
def test_a_chains_rows_are_shared(rows: int, threads: int, solver: str) -> None:
    call = chain(rows, solver)
    one, several, again = on(1, call), on(threads, call), on(threads, call)
    assert torch.equal(one[0], several[0])
    for a, b, c in zip(one, several, again, strict=True):
        assert torch.equal(b, c)
        torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-4 * (1 + float(a.abs().max())))


def test_sums_of_few_rows_on_many_threads_are_whole() -> None:
    net, x = MLP(3, (8,), 2, torch_stream(0, "net")), torch.ones(256, 3)
    bias = net.layers[-1].bias
    for threads in (1, 2, 4, 64):
        torch.set_num_threads(threads)
        (found,) = torch.autograd.grad(net(x).sum(), [bias])
        assert found.tolist() == [256.0, 256.0]


@pytest.mark.parametrize("threads", kernel_module.THREADS)
def test_without_openmp_one_thread_does_every_share(threads: tuple[str, ...], tmp_path, monkeypatch) -> None:
    compiler = next(filter(None, map(shutil.which, kernel_module.COMPILERS)))
    library = kernel_module.made(compiler, tmp_path / "layers.so", *threads, "-Wall", "-Werror")
    call = chain(300)
    ours = on(3, call)
    monkeypatch.setattr(activation_module, "_kernel", kernel_module.Kernel(ctypes.CDLL(library)))
    assert all(map(torch.equal, ours, on(3, call)))
