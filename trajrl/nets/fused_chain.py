"""A chain of denoising steps with one net, in one call of the compiled kernels, forward and back.

x_{j+1} = c1 clip(x0_j) + c2 x_j + s z_{j+1},   x0_j = (x_j - sigma net(x_j, temb_j)) / alpha,
or what the net gives, where it gives the action.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import byref
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trajrl.nets.fused import enough, gradients_of, in_use, of_each_seed, rounds, wanted
from trajrl.nets.kernel import Chain, Net, Step
from trajrl.nets.net_layout import Parts, Style, at, pointers, shape_of
from trajrl.nets.stacked import is_stacked


def chain(style: Style, parts: Parts, steps: Sequence[Step], temb: Tensor, noise: Tensor) -> Tensor:
    """Return what denoising steps make of noise (draws, B, D), with one row of temb (steps, time) each."""
    if is_stacked(noise) or is_stacked(parts.weights[0]):
        return of_each_seed(style, parts, lambda own, *given: chain(style, own, steps, *given), temb, noise)
    path, noise = Chain.of(steps, noise.shape[2]), noise.contiguous()
    if wanted(temb, *parts.flat()):
        found: Tensor = _Chain.apply(style, len(parts.weights), path, noise, temb, *parts.flat())
        return found
    return run_chain(style, parts, path, temb, noise, keep=False)[0]


def run_chain(
    style: Style, parts: Parts, path: Chain, temb: Tensor, noise: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Net]:
    """Go forward; returns (out, every step's input, every x0, what the way back needs, the net's shape)."""
    kernel, (_, rows, size) = in_use(), noise.shape
    x = torch.empty(path.steps + 1, rows, size + temb.shape[1])
    clean, out = torch.empty(path.steps, rows, size), torch.empty(rows, size)
    net = shape_of(style, parts, x[:1], rounds())
    kept = torch.empty(path.steps * kernel.kept_size(byref(net))) if keep else None
    temb = temb.contiguous()
    failed = kernel.chain_forward(
        byref(net),
        pointers(parts),
        byref(path),
        at(temb),
        at(noise),
        at(x),
        at(clean),
        at(kept),
        at(out),
    )
    enough(failed)
    return out, x, clean, kept, net


class _Chain(torch.autograd.Function):
    """Denoising steps with one net, forward and back; the noise has no gradient."""

    @staticmethod
    def forward(
        ctx: Any, style: Style, count: int, path: Chain, noise: Tensor, temb: Tensor, *flat: Tensor
    ) -> Tensor:
        parts = Parts.of(flat, count, style.norm != "none")
        out, x, clean, kept, ctx.net = run_chain(style, parts, path, temb, noise, keep=True)
        ctx.count, ctx.normed, ctx.path = count, style.norm != "none", path
        ctx.save_for_backward(x, clean, kept, *flat)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, clean, kept, *flat = ctx.saved_tensors
        found = gradients_of(ctx, flat, 2)  # after the noise and temb
        steps, rows, size = clean.shape
        dtemb, own = torch.zeros(steps, x.shape[2] - size), torch.empty(rows * (2 * size + x.shape[2]))
        layers = pointers(Parts.of(flat, ctx.count, ctx.normed), Parts.of(found, ctx.count, ctx.normed))
        g = gradient.contiguous()
        failed = in_use().chain_backward(
            byref(ctx.net),
            layers,
            byref(ctx.path),
            at(g),
            at(x),
            at(clean),
            at(kept),
            at(own),
            at(dtemb),
        )
        enough(failed)
        return None, None, None, None, dtemb, *found
