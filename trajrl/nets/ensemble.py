"""EnsembleMLP: E independent MLPs as one module, one batched product per layer.  Ensemble of critics: (E, B).

Weights are stored as (E, in, out), the transpose of torch's Linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from trajrl.nets.activation import activation as activation_named
from trajrl.nets.mlp import NORMS, between, draw_linear


class EnsembleLinear(nn.Module):
    """E Linear layers: (E, B, in) -> (E, B, out)."""

    def __init__(
        self, members: int, in_dim: int, out_dim: int, rng: torch.Generator, init: str = "default"
    ) -> None:
        super().__init__()
        weight, bias = torch.empty(members, out_dim, in_dim), torch.empty(members, out_dim)
        for j in range(members):
            draw_linear(weight[j], bias[j], rng, init)
        self.weight = nn.Parameter(weight.mT.contiguous())  # (E, in, out)
        self.bias = nn.Parameter(bias[:, None].contiguous())  # (E, 1, out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply every member to its own rows (E, B, in)."""
        return torch.baddbmm(self.bias, x, self.weight)


class EnsembleNorm(nn.Module):
    """A layer norm with a gain and a shift per member: (E, B, width)."""

    def __init__(self, members: int, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(members, 1, width))
        self.bias = nn.Parameter(torch.zeros(members, 1, width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return torch.addcmul(self.bias, nn.functional.layer_norm(x, x.shape[-1:], eps=self.eps), self.weight)


class EnsembleMLP(nn.Module):
    """x (..., in), shared by all members, -> (E, ..., out); x (E, B, in) under `own_rows`."""

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
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if layer_norm not in NORMS:
            raise ValueError(f"layer_norm is one of {', '.join(NORMS)}; got '{layer_norm}'")
        widths = [in_dim, *hidden, out_dim]
        self.members = members
        self.layers = nn.ModuleList(EnsembleLinear(members, i, o, rng, init) for i, o in pairwise(widths))
        self.norms = nn.ModuleList(EnsembleNorm(members, w, norm_eps) for w in hidden if layer_norm != "none")
        self.norm_first = layer_norm == "before"
        self.activation = activation_named(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Apply every member to the same rows: (..., in) -> (E, ..., out)."""
        rows = x.reshape(1, -1, x.shape[-1]).expand(self.members, -1, -1)  # (E, B, in)
        return self.own_rows(rows).reshape(self.members, *x.shape[:-1], -1)

    def own_rows(self, x: Tensor) -> Tensor:
        """Apply each member to its own rows: (E, B, in) -> (E, B, out)."""
        x = self.layers[0](x)
        for i, layer in enumerate(self.layers[1:]):
            x = layer(between(x, self.activation, self.norms[i] if self.norms else None, self.norm_first))
        return x


class Critic(nn.Module):
    """Q_j(o, a) of E independent nets on cat(o, a): (E, B)."""

    def __init__(
        self, members: int, in_dim: int, hidden: Sequence[int], rng: torch.Generator, **options: Any
    ) -> None:
        super().__init__()
        self.net = EnsembleMLP(members, in_dim, hidden, 1, rng, **options)

    def forward(self, context: Tensor, actions: Tensor) -> Tensor:
        """Return Q (E, ...) of context (..., ctx) and flattened actions (..., N act)."""
        return self.net(torch.cat((context, actions), -1)).squeeze(-1)
