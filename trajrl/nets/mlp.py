"""MLP: Linear layers with an activation between them and, by option, a layer norm before or after it.

Weights are drawn from a generator that the caller gives, never from torch's global one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as linear_of

from trajrl.nets.activation import Activation
from trajrl.nets.activation import activation as activation_named
from trajrl.nets.fused import perceptron, serves
from trajrl.nets.net_layout import Parts, Style
from trajrl.nets.stacked import across, is_stacked

INITS = ("default", "orthogonal", "xavier")  # default: U(-b, b), b = 1/sqrt(in), as torch has it
GAIN = sqrt(2)  # of orthogonal weights
FEW = 171  # with the 24 rows that acting has at least, more than the 4,096 products where torch changes over
ALONE = Style(1, "mish")  # a layer with nothing after it
NORMS = ("none", "before", "after")  # where a layer norm stands, seen from the activation


@torch.no_grad()
def draw_linear(
    weight: Tensor, bias: Tensor, rng: torch.Generator, init: str = "default", gain: float = GAIN
) -> None:
    """Fill a Linear's weight (out, in) and bias (out,); xavier and orthogonal have zero biases.

    Args:
        gain: of orthogonal weights
    """
    if init not in INITS:
        raise ValueError(f"no init '{init}'; there are: {', '.join(INITS)}")
    if init == "default":
        bound = 1 / sqrt(weight.shape[1])
        weight.uniform_(-bound, bound, generator=rng)
        bias.uniform_(-bound, bound, generator=rng)
        return
    if init == "xavier":
        nn.init.xavier_uniform_(weight, generator=rng)
    else:
        nn.init.orthogonal_(weight, gain, generator=rng)
    bias.zero_()


class Linear(nn.Linear):
    """A Linear that draws nothing of itself, and so not from torch's global generator.

    torch's own skip_init does the same through meta tensors, whose import takes a second of the processor.
    """

    def reset_parameters(self) -> None:
        """Leave the weights to `linear`."""


def linear(
    in_dim: int, out_dim: int, rng: torch.Generator, init: str = "default", gain: float = GAIN
) -> nn.Linear:
    """Return a Linear whose weights come from `rng`."""
    layer = Linear(in_dim, out_dim, device="cpu")
    draw_linear(layer.weight, layer.bias, rng, init, gain)
    return layer


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x (..., in) times weight (out, in) plus bias, (out,) or one per row; few weights are summed.

    torch gives very small products to another library than the rest, which of them depending on the rows.
    With a sum in their place, a row has the same bits whatever rows stand beside it.
    """
    if weight.numel() < FEW:
        return (x.unsqueeze(-2) * weight).sum(-1) + bias
    if serves(ALONE, x, weight):
        return perceptron(ALONE, Parts((weight,), (bias,)), x)
    if is_stacked(weight):
        return across(affine_of_every_seed, x, weight, bias)
    return linear_of(x, weight, bias) if bias.dim() == 1 else torch.addmm(bias, x, weight.t())


def affine_of_every_seed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the same of every seed: x (R, ..., in), weight (R, out, in), bias (R, out) or (R, B, out)."""
    rows = x.flatten(1, -2) if x.dim() > 2 else x[:, None]  # (R, B, in)
    found = torch.baddbmm(bias if bias.dim() == 3 else bias[:, None], rows, weight.mT)
    return found.view(*x.shape[:-1], -1)


def between(x: Tensor, activation: Activation, norm: nn.Module | None, norm_first: bool) -> Tensor:
    """Apply what stands between two layers: the activation and, where there is one, the norm."""
    if norm is None:
        return activation(x)
    return activation(norm(x)) if norm_first else norm(activation(x))


class MLP(nn.Module):
    """x (..., in) -> (..., out); the last layer is a bare Linear."""

    def __init__(
        self,
        in_dim: int,
        hidden: Sequence[int],
        out_dim: int,
        rng: torch.Generator,
        *,
        activation: str = "mish",
        layer_norm: str = "none",
        init: str = "default",
        out_gain: float = GAIN,
        norm_eps: float = 1e-5,
    ) -> None:
        """Draw the weights.

        Args:
            out_gain: gain of the last layer's orthogonal weights; near 0: outputs begin near 0
        """
        super().__init__()
        if layer_norm not in NORMS:
            raise ValueError(f"layer_norm is one of {', '.join(NORMS)}; got '{layer_norm}'")
        widths, gains = [in_dim, *hidden, out_dim], [*(GAIN for _ in hidden), out_gain]
        self.layers = nn.ModuleList(
            linear(i, o, rng, init, gain) for (i, o), gain in zip(pairwise(widths), gains)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(w, norm_eps) for w in hidden if layer_norm != "none")
        self.norm_first = layer_norm == "before"
        self.activation = activation_named(activation)
        self.style = Style(len(self.layers), activation, layer_norm if self.norms else "none", norm_eps)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Apply the layers.

        Args:
            keep: what dropout multiplies each hidden layer by, (B, layers, width); None: no dropout
        """
        if keep is None:
            return self.with_first(x, *self.first())
        return self.after_first(affine(x, *self.first()), keep)

    def first(self) -> tuple[Tensor, Tensor]:
        """Return the first layer's weight (width, in) and bias (width,)."""
        return self.weights(0)

    def with_first(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Apply the layers with another first one, of weight (width, in) and bias (width,) or (B, width)."""
        if serves(self.style, x, weight):
            return perceptron(self.style, self.parts(weight, bias), x)
        return self.after_first(affine(x, weight, bias))

    def after_first(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Continue from the first layer's output, for callers that compute it in parts."""
        for i in range(1, len(self.layers)):
            x = between(x, self.activation, self.norms[i - 1] if self.norms else None, self.norm_first)
            x = x if keep is None else x * keep[:, i - 1]
            x = affine(x, *self.weights(i))
        return x

    def parts(self, weight: Tensor, bias: Tensor) -> Parts:
        """Return weights, biases and norms, with these for the first layer's."""
        weights, biases = zip((weight, bias), *map(self.weights, range(1, len(self.layers))))
        norms = [cast(nn.LayerNorm, norm) for norm in self.norms]
        return Parts(weights, biases, [norm.weight for norm in norms], [norm.bias for norm in norms])

    def weights(self, i: int) -> tuple[Tensor, Tensor]:
        """Return weight (out, in) and bias (out,) of one layer."""
        layer = cast(nn.Linear, self.layers[i])
        return layer.weight, layer.bias
