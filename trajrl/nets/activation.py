"""Activations by name.  Mish on the CPU is one function of its own: one exponential, few passes over memory.

mish(x) = x tanh(softplus(x)) = x - x r,   r = 1 / (e^2/2 + e + 1),   e = exp(x)
mish'(x) = 1 - r + x r (2 - (e + 2) r)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Activation = Callable[[Tensor], Tensor]
LOG2_E = 1.4426950408889634  # 2^(x log2 e) is e^x in half the time of torch's own exponential on the CPU
FLAT = 20.0  # above this exp(x) is cut off where the derivative is wanted: there mish'(x) is 1


def mish(x: Tensor) -> Tensor:
    """x tanh(softplus(x)); elsewhere than on the CPU, and under a compiler, torch's own."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return functional.mish(x)
    if torch.is_grad_enabled() and x.requires_grad:
        return _Mish.apply(x)
    wide = _wide(x)
    return torch.addcmul(wide, wide, _ratio(wide.mul(LOG2_E).exp2_()), value=-1).to(x.dtype)


class _Mish(torch.autograd.Function):
    """Keeps the derivative instead of the input, so that the backward pass is one product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        wide = _wide(x)
        e = wide.clamp(max=FLAT).mul_(LOG2_E).exp2_()
        r = _ratio(e)
        q = e.add_(2).mul_(r)  # (e + 2) r
        slope = torch.addcmul(wide, wide, q, value=-0.5).mul_(2).sub_(1).mul_(r).add_(1)
        ctx.save_for_backward(slope.to(x.dtype))
        return torch.addcmul(wide, wide, r, value=-1).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return gradient * slope


def _wide(x: Tensor) -> Tensor:
    """Return x in at least single precision."""
    return x if x.dtype == torch.float64 else x.float()


def _ratio(e: Tensor) -> Tensor:
    """Return r; 0 where e^2 is infinite, and there mish(x) is x."""
    return torch.addcmul(e, e, e, value=0.5).add_(1).reciprocal_()


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
    return ACTIVATIONS[name]
