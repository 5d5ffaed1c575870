"""EnsembleMLP: E independent MLPs as one module, one batched product per layer.  Ensemble of critics: (E, B).

Weights are stored as (E, in, out), the transpose of torch's Linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from trajrl.nets.activation import activation as activation_named
from trajrl.nets.fused import ensemble, serves
from trajrl.nets.mlp import FEW, GAIN, NORMS, draw_linear
from trajrl.nets.net_layout import Parts, Style
from trajrl.nets.stacked import across, is_stacked


class EnsembleLinear(nn.Module):
    """E Linear layers: (E, B, in) -> (E, B, out)."""

    def __init__(
        self,
        members: int,
        in_dim: int,
        out_dim: int,
        rng: torch.Generator,
        init: str = "default",
        gain: float = GAIN,
    ) -> None:
        super().__init__()
        weight, bias = torch.empty(members, out_dim, in_dim), torch.empty(members, out_dim)
        for j in range(members):
            draw_linear(weight[j], bias[j], rng, init, gain)
        self.weight = nn.Parameter(weight.mT.contiguous())  # (E, in, out)
        self.bias = nn.Parameter(bias[:, None].contiguous())  # (E, 1, out)

    def forward(self, x: Tensor, members: Tensor | None = None) -> Tensor:
        """Apply each member, or those at the indices `members`, to its own rows (E, B, in).

        A single output is a sum, in a third of the time of a product; few weights are too, as in `affine`.
        """
        weight, bias = chosen(self.weight, members), chosen(self.bias, members)
        if weight.shape[2] == 1 or weight[0].numel() < FEW:
            return (x.unsqueeze(2) * weight.mT.unsqueeze(1)).sum(-1) + bias  # over (E, B, out, in)
        return across(products, bias, x, weight)


class EnsembleNorm(nn.Module):
    """A layer norm with a gain and a shift per member: (E, B, width)."""

    def __init__(self, members: int, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(members, 1, width))
        self.bias = nn.Parameter(torch.zeros(members, 1, width))
        self.eps = eps

    def forward(self, x: Tensor, members: Tensor | None = None) -> Tensor:
        """Normalise the last axis."""
        normal = nn.functional.layer_norm(x, x.shape[-1:], eps=self.eps)
        return torch.addcmul(chosen(self.bias, members), normal, chosen(self.weight, members))


class EnsembleMLP(nn.Module):
    """x (..., in), shared by all members, -> (E, ..., out)."""

    def __init__(
        self,
        members: int,
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
        """Draw the weights; `out_gain` as in MLP."""
        super().__init__()
        if layer_norm not in NORMS:
            raise ValueError(f"layer_norm is one of {', '.join(NORMS)}; got '{layer_norm}'")
        widths, gains = [in_dim, *hidden, out_dim], [*(GAIN for _ in hidden), out_gain]
        self.members = members
        self.layers = nn.ModuleList(
            EnsembleLinear(members, i, o, rng, init, gain) for (i, o), gain in zip(pairwise(widths), gains)
        )
        self.norms = nn.ModuleList(EnsembleNorm(members, w, norm_eps) for w in hidden if layer_norm != "none")
        self.norm_first = layer_norm == "before"
        self.activation = activation_named(activation)
        self.style = Style(len(self.layers), activation, layer_norm if self.norms else "none", norm_eps)

    def forward(self, x: Tensor, members: Tensor | None = None) -> Tensor:
        """Apply every member, or those at the indices `members`, to the same rows."""
        count = self.members if members is None else len(members)
        rows = x.reshape(1, -1, x.shape[-1]).expand(count, -1, -1)  # (E, B, in)
        return self.own_rows(rows, members).reshape(count, *x.shape[:-1], -1)

    def own_rows(self, x: Tensor, members: Tensor | None = None) -> Tensor:
        """Apply each member to its own rows: (E, B, in) -> (E, B, out)."""
        if serves(self.style, x, cast(EnsembleLinear, self.layers[0]).weight):
            return ensemble(self.style, self.parts(members), x)
        x = self.layers[0](x, members)
        for i, layer in enumerate(self.layers[1:]):
            if self.norms and self.norm_first:
                x = self.activation(self.norms[i](x, members))
            elif self.norms:
                x = self.norms[i](self.activation(x), members)
            else:
                x = self.activation(x)
            x = layer(x, members)
        return x

    def parts(self, members: Tensor | None) -> Parts:
        """Return weights, biases and norms of all members, or of those at the indices `members`."""
        layers = [cast(EnsembleLinear, layer) for layer in self.layers]
        norms = [cast(EnsembleNorm, norm) for norm in self.norms]
        return Parts(
            [seen(layer.weight, members) for layer in layers],
            [seen(layer.bias, members) for layer in layers],
            [seen(norm.weight, members) for norm in norms],
            [seen(norm.bias, members) for norm in norms],
        )


class Critic(nn.Module):
    """Q_j(o, a) of E independent nets on cat(o, a): (E, B)."""

    def __init__(
        self, members: int, in_dim: int, hidden: Sequence[int], rng: torch.Generator, **options: Any
    ) -> None:
        super().__init__()
        self.net = EnsembleMLP(members, in_dim, hidden, 1, rng, **options)

    def forward(self, context: Tensor, actions: Tensor, members: Tensor | None = None) -> Tensor:
        """Return Q (E, ...) of context (..., ctx) and flattened actions (..., N act).

        Args:
            members: indices of the critics wanted, on the device; None: all.
        """
        return self.net(torch.cat((context, actions), -1), members).squeeze(-1)


def products(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Return x times weight plus bias of all members, (..., E, B, out) where each is (..., E, B, in)."""
    if weight.dim() == 3:
        return torch.baddbmm(bias, x, weight)
    of_all = (part.flatten(0, 1) for part in (bias, x, weight))  # members of every seed: (R E, ...)
    return torch.baddbmm(*of_all).unflatten(0, weight.shape[:2])


def chosen(parameter: Tensor, members: Tensor | None) -> Tensor:
    """Return the members' slices of a parameter (E, ...)."""
    return parameter if members is None else parameter.index_select(0, members)


def seen(parameter: Tensor, members: Tensor | None) -> Tensor:
    """Return the members' slices of a parameter (E, ...) on the CPU, that of a single one without a copy."""
    if members is None or len(members) > 1 or is_stacked(members):
        return chosen(parameter, members)
    return parameter.narrow(0, int(members), 1)


def draw_pair(members: int, rng: torch.Generator) -> Tensor:
    """Draw two members (2,), different ones where there are two."""
    first = torch.randint(members, (), generator=rng)
    other = torch.randint(1, max(2, members), (), generator=rng)
    return torch.stack((first, (first + other) % members))
