"""Activations by name.  Mish on the CPU is one function of its own: one exponential for value and derivative.

mish(x) = x tanh(softplus(x)) = x n / (n + 2),   n = e (e + 2),   e = exp(x)
mish'(x) = n / (n + 2) + 4 x e (e + 1) / (n + 2)^2
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Activation = Callable[[Tensor], Tensor]
FLAT = 20.0  # above this exp(x) is cut off: tanh(softplus(x)) is 1 in float32, and e^4 stays finite


def mish(x: Tensor) -> Tensor:
    """x tanh(softplus(x)); elsewhere than on the CPU, and under a compiler, torch's own."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return functional.mish(x)
    if torch.is_grad_enabled() and x.requires_grad:
        return _Mish.apply(x)
    return _ratio(_exponential(x))[0].mul_(x).to(x.dtype)


class _Mish(torch.autograd.Function):
    """Keeps the derivative instead of the input, so that the backward pass is one product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        e = _exponential(x)
        ratio, inverse = _ratio(e)
        slope = e.addcmul_(e, e).mul_(inverse).mul_(inverse).mul_(x)  # x e (e + 1) / (n + 2)^2
        ctx.save_for_backward(torch.add(ratio, slope, alpha=4).to(x.dtype))
        return ratio.mul_(x).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return gradient * slope


def _exponential(x: Tensor) -> Tensor:
    """Return exp(x) cut off at FLAT, in at least single precision."""
    wide = x.clamp(max=FLAT)
    return (wide if wide.dtype == torch.float64 else wide.float()).exp_()


def _ratio(e: Tensor) -> tuple[Tensor, Tensor]:
    """Return n / (n + 2) and 1 / (n + 2)."""
    n = (e * e).add_(e, alpha=2)
    inverse = (n + 2).reciprocal_()
    return n.mul_(inverse), inverse


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
