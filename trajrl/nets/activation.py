"""Activations by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

Activation = Callable[[Tensor], Tensor]


def gelu(x: Tensor) -> Tensor:
    """x Phi(x) by its tanh approximation, as JAX has it."""
    return functional.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Activation] = {
    "elu": functional.elu,
    "gelu": gelu,
    "mish": functional.mish,
    "relu": functional.relu,
    "silu": functional.silu,
    "tanh": Tensor.tanh,
}


def activation(name: str) -> Activation:
    """Return the activation called `name`."""
    if name not in ACTIVATIONS:
        raise ValueError(f"no activation '{name}'; there are: {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[name]
