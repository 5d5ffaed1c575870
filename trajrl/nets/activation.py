"""Activations by name.  Mish on the CPU is one function of its own: one exponential, few passes over memory.

Half precision has 65,536 numbers: there it is looked up, rounded once.  A run that asks for it has a compiled
kernel instead (kernel.py), in one pass.

Without gradients, as acting has it, a number has the same bits wherever it stands among others.

mish(x) = x tanh(softplus(x)) = x - x r,   r = 2 / (f^2 + 1),   f = 1 + e,   e = exp(x)
mish'(x) = 1 - r (1 - x r e f)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from math import lcm
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from trajrl.nets.kernel import Kernel, compiled
from trajrl.nets.stacked import across, is_stacked

Activation = Callable[[Tensor], Tensor]
LOG2_E = 1.4426950408889634  # 2^(x log2 e) is e^x in half the time of torch's own exponential on the CPU
HALF = torch.tensor(0.5)
FLAT = 20.0  # above this exp(x) is cut off where the derivative is wanted: there mish'(x) is 1
LARGEST = torch.finfo(torch.float32).max  # in place of infinity, of which mish is infinity or 0 and no NaN
LANES = 32  # single numbers that torch's loops on the CPU take at a time, at most
_kernel: Kernel | None = None  # what use_kernel chose
SERIAL, GRAIN = 16_384, 32_768  # numbers up to which torch uses one thread, and that it gives to each further


def mish(x: Tensor) -> Tensor:
    """x tanh(softplus(x)); elsewhere than on the CPU, under a compiler, and in float16 torch's own."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or x.dtype == torch.float16:
        return functional.mish(x)
    if torch.is_grad_enabled() and x.requires_grad:
        return _Mish.apply(x)
    if (kernel := _kernel_for(x)) is not None:
        return kernel.mish(x)
    if x.dtype == torch.bfloat16:
        return _low_half(_looked_up(x))
    f = x.mul(LOG2_E).exp2_().add_(1)
    above = x.clamp(min=-LARGEST)
    return above.addcdiv_(above.clamp(max=LARGEST), _inverse(f, out=f), value=-1)


def use_kernel(wanted: bool) -> bool:
    """Compute by the compiled kernels from now on, or by torch's operations; returns whether it does."""
    global _kernel
    _kernel = compiled() if wanted else None
    return _kernel is not None


def kernel_in_use() -> Kernel | None:
    """Return what use_kernel chose."""
    return _kernel


def _kernel_for(x: Tensor) -> Kernel | None:
    """Return the kernel where it was asked for and serves: on plain tensors."""
    if _kernel is None or x.dtype not in (torch.float32, torch.bfloat16):
        return None
    return None if torch._C._functorch.is_functorch_wrapped_tensor(x) else _kernel


class _Mish(torch.autograd.Function):
    """Keeps 1 - mish'(x) instead of the input, so that the backward pass is one product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        if (kernel := _kernel_for(x)) is not None:
            found, rest = kernel.mish_and_rest(x)
        elif x.dtype == torch.bfloat16:
            both = _looked_up(x)
            found, rest = _low_half(both), _low_half(both >> 16)
        else:
            found, rest = _mish_and_rest(x)
        ctx.save_for_backward(rest)
        return found

    @staticmethod
    @once_differentiable  # what is kept knows nothing of x
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (rest,) = ctx.saved_tensors
        return torch.addcmul(gradient, gradient, rest, value=-1)


def _mish_and_rest(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mish(x) and 1 - mish'(x)."""
    low = x.clamp(-LARGEST, FLAT)
    e = low.mul(LOG2_E).exp2_()
    f = e.add(1)
    inverse = _inverse(f)
    above = x.clamp(min=-LARGEST)
    found = above.addcdiv_(low, inverse, value=-1)  # above FLAT the quotient is lost in rounding: it is x
    r = inverse.reciprocal_()
    u = low.mul_(r)
    return found, r.addcmul_(r, e.mul_(f).mul_(u), value=-1)


@cache
def _table() -> Tensor:
    """Return mish(x), and 16 bits higher 1 - mish'(x), for the bits of every x in half precision (65536,)."""
    every = torch.arange(2**16).to(torch.int16).view(torch.bfloat16).double()
    x = every.clamp(-LARGEST, LARGEST).requires_grad_()
    with torch.enable_grad():
        found = functional.mish(x)
        (slope,) = torch.autograd.grad(found.sum(), x)
    found = torch.where(every == torch.inf, every, found)
    low, high = (part.detach().bfloat16().view(torch.int16).int() for part in (found, 1 - slope))
    return (high << 16) | (low & 0xFFFF)


def _looked_up(x: Tensor) -> Tensor:
    """Return the table's entries of x, in the shape of x."""
    place = x.contiguous().view(torch.uint16).int()
    return _table().index_select(0, place.view(-1)).view(x.shape)


def _low_half(bits: Tensor) -> Tensor:
    """Return the lower 16 bits as numbers in half precision."""
    return bits.to(torch.int16).view(torch.bfloat16)


def _inverse(f: Tensor, out: Tensor | None = None) -> Tensor:
    """Return 1 / r, infinite where f^2 is, and there mish(x) is x."""
    return torch.addcmul(HALF, f, f, value=0.5, out=out)


def evenly(function: Activation) -> Activation:
    """Fill up what `function` gets on the CPU, so that no thread's share ends inside a stride of LANES.

    torch computes what is left over one by one, with other last bits than in strides.
    """

    @wraps(function)
    def applied(x: Tensor) -> Tensor:
        if is_stacked(x):
            return across(applied, x)
        if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.is_grad_enabled():
            return function(x)
        missing = -x.numel() % (LANES * shares(x.numel(), torch.get_num_threads()))
        if not missing:
            return function(x)
        return function(functional.pad(x.reshape(-1), (0, missing)))[: x.numel()].view_as(x)

    return applied


def shares(count: int, threads: int) -> int:
    """Return a number that whatever torch cuts `count` numbers into divides."""
    return 1 if count <= SERIAL else lcm(threads, min(threads, -(-count // GRAIN)))


def gelu(x: Tensor) -> Tensor:
    """x Phi(x) by its tanh approximation, as JAX has it."""
    return functional.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Activation] = {
    "elu": functional.elu,
    "gelu": gelu,
    "mish": mish,
    "relu": functional.relu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}


def activation(name: str) -> Activation:
    """Return the activation called `name`."""
    if name not in ACTIVATIONS:
        raise ValueError(f"no activation '{name}'; there are: {', '.join(sorted(ACTIVATIONS))}")
    return evenly(ACTIVATIONS[name])
