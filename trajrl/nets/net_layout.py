"""How a net is described to the compiled kernels (kernels/layers.h): its parts, and how they lie."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Array, c_void_p
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from trajrl.nets.kernel import Net

ACTIVATIONS = {"mish": 0, "relu": 1, "gelu": 2, "silu": 3}
NORMS = {"none": 0, "before": 1, "after": 2}
PARTS = 8  # pointers of a layer: weight, bias, gain, shift, and their gradients


class Style(NamedTuple):
    """How many layers a net has, and what stands between two of them."""

    layers: int
    activation: str
    norm: str = "none"
    eps: float = 1e-5


class Parts(NamedTuple):
    """What a net is made of: weights (out, in) or (E, in, out), biases, and its norms' gains and shifts."""

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]  # the first (B, out), or (E, B, out), where every row has its own
    gains: Sequence[Tensor] = ()
    shifts: Sequence[Tensor] = ()

    def flat(self) -> list[Tensor]:
        """Return them one after the other."""
        return [*self.weights, *self.biases, *self.gains, *self.shifts]

    @classmethod
    def of(cls, flat: Sequence[Tensor], count: int, normed: bool) -> Parts:
        """Return those of a net of `count` layers again."""
        ends = 2 * count + (count - 1) * normed
        return cls(flat[:count], flat[count : 2 * count], flat[2 * count : ends], flat[ends:])


def as_members(parts: Parts) -> Parts:
    """Return a stack of nets, every part (R, ...), as one net that has them, or all of theirs, as members."""
    if parts.weights[0].dim() == 4:  # (R, E, in, out)
        weights, *others = ([part.flatten(0, 1) for part in group] for group in parts)
    else:
        weights = [weight.mT for weight in parts.weights]  # of (R, out, in)
        others = [[part if part.dim() == 3 else part[:, None] for part in group] for group in parts[1:]]
    return Parts(weights, *([part.contiguous() for part in group] for group in others))


@cache
def described(
    style: Style, fast: bool, by_row: bool, lies: tuple[tuple[torch.Size, tuple[int, ...]], ...]
) -> Net:
    """Describe a net by the shapes and steps of its weights; rows and members are left open."""
    net = Net(fast, ACTIVATIONS[style.activation], NORMS[style.norm], layers=len(lies), eps=style.eps)
    for i, (shape, steps) in enumerate(lies):
        if len(shape) == 3:
            net.apart[i], net.along_in[i], net.along_out[i] = steps
            net.width[i], net.width[i + 1] = shape[1:]
        else:
            net.along_out[i], net.along_in[i] = steps
            net.width[i + 1], net.width[i] = shape
    net.bias_down = net.width[1] * by_row
    return net


def shape_of(style: Style, parts: Parts, x: Tensor, fast: bool) -> Net:
    """Describe a net and the rows it gets, (E, B, in); `fast` rounds factors."""
    lies = tuple((weight.shape, weight.stride()) for weight in parts.weights)
    weight, bias = parts.weights[0], parts.biases[0]
    by_row = weight.dim() == bias.dim() and (bias.dim() == 2 or bias.shape[1] > 1)
    net = Net.from_buffer_copy(described(style, fast, by_row, lies))
    net.members, net.rows, size = x.shape
    net.threads = torch.get_num_threads()
    net.x_apart = 0 if x.stride(0) == 0 else net.rows * size
    return net


def pointers(parts: Parts, gradients: Parts | None = None) -> Array[c_void_p]:
    """Return where every layer's tensors lie, and their gradients, in the order of kernels/layers.h."""
    found: list[int | None] = [None] * (PARTS * len(parts.weights))
    for k, group in enumerate((*parts, *(gradients or ()))):
        for i, part in enumerate(group):
            if part is not None:
                found[PARTS * i + k] = part.data_ptr()
    return (c_void_p * len(found))(*found)


def at(x: Tensor | None) -> int | None:
    """Return where a tensor lies."""
    return None if x is None else x.data_ptr()
