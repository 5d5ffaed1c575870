"""Whole perceptrons, and chains of denoising steps, in one call of the compiled kernels.

What torch does in a dozen operations a layer, each through memory and autograd, kernels/layers.c does in one
pass: products, biases, layer norms, activations, and the way back.  A run asks for it (`kernels=compiled`);
with `--matmul fast` factors are rounded to bfloat16 where the processor has tiles for such products.

Whatever these calls do not do (other activations, dropout, autocast, stacked seeds, second derivatives) torch
does, layer by layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Array, byref, c_void_p
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trajrl.nets.activation import kernel_in_use
from trajrl.nets.kernel import MOST, Chain, Kernel, Net, Step

ACTIVATIONS = {"mish": 0, "relu": 1, "gelu": 2, "silu": 3}
UNGATED = ("mish", "relu")
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
    biases: Sequence[Tensor]  # the first (B, out) where every row has its own
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


def serves(style: Style, x: Tensor, weight: Tensor) -> bool:
    """Say whether these calls were asked for and do a net's work on x; weight is its first.

    They use one thread, and torch's products and gates are as fast as theirs: without tiles they pay for Mish
    and ReLU on one thread.
    """
    return (
        not torch.compiler.is_compiling()
        and kernel_in_use() is not None
        and style.activation in ACTIVATIONS
        and style.layers <= MOST
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and (by_tiles() or (style.activation in UNGATED and torch.get_num_threads() == 1))
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)
        and not torch._C._functorch.is_functorch_wrapped_tensor(weight)
    )


def by_tiles() -> bool:
    """Say whether factors are rounded: --matmul fast asks for it, and some processors can."""
    return in_use().tiles and torch.get_float32_matmul_precision() == "medium"


def perceptron(style: Style, parts: Parts, x: Tensor) -> Tensor:
    """Return what a net makes of x (E, B, in), (E, B, out); E is 1 for weights without members."""
    if wanted(x, *parts.flat()):
        found: Tensor = _Perceptron.apply(style, len(parts.weights), x, *parts.flat())
        return found
    return run(style, parts, rows_of(x), keep=False)[0]


def chain(style: Style, parts: Parts, steps: Sequence[Step], temb: Tensor, noise: Tensor) -> Tensor:
    """Return what denoising steps make of noise (draws, B, D), with one row of temb (steps, time) each."""
    path, noise = Chain.of(steps, noise.shape[2]), noise.contiguous()
    if wanted(temb, *parts.flat()):
        found: Tensor = _Chain.apply(style, len(parts.weights), path, noise, temb, *parts.flat())
        return found
    return run_chain(style, parts, path, temb, noise, keep=False)[0]


def wanted(*tensors: Tensor) -> bool:
    """Say whether there is a gradient to be found."""
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


def rows_of(x: Tensor) -> Tensor:
    """Return x (E, B, in) with its rows without gaps; members that share theirs go on sharing them."""
    return x[:1].contiguous().expand(x.shape) if x.stride(0) == 0 else x.contiguous()


def run(style: Style, parts: Parts, x: Tensor, keep: bool) -> tuple[Tensor, Tensor | None, Net]:
    """Go forward; returns (out, what the way back needs, the net's shape)."""
    kernel, net = in_use(), shape_of(style, parts, x)
    out = torch.empty(net.members, net.rows, net.width[net.layers])
    kept = torch.empty(kernel.kept_size(byref(net))) if keep else None
    failed = kernel.forward(byref(net), pointers(parts), at(x), at(out), at(kept))
    enough(failed)
    return out, kept, net


class _Perceptron(torch.autograd.Function):
    """A net's layers, forward and back."""

    @staticmethod
    def forward(ctx: Any, style: Style, count: int, x: Tensor, *flat: Tensor) -> Tensor:
        x, parts = rows_of(x), Parts.of(flat, count, style.norm != "none")
        out, kept, ctx.net = run(style, parts, x, keep=True)
        ctx.count, ctx.normed = count, style.norm != "none"
        ctx.save_for_backward(x, kept, *flat)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, kept, *flat = ctx.saved_tensors
        dx = torch.empty(x.shape) if needs(ctx, 0) else None
        found = gradients_of(ctx, flat, 1)
        layers = pointers(Parts.of(flat, ctx.count, ctx.normed), Parts.of(found, ctx.count, ctx.normed))
        g = gradient.contiguous()
        failed = in_use().backward(byref(ctx.net), layers, at(x), at(g), at(kept), at(dx))
        enough(failed)
        return None, None, dx, *found


def run_chain(
    style: Style, parts: Parts, path: Chain, temb: Tensor, noise: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Net]:
    """Go forward; returns (out, every step's input, every x0, what the way back needs, the net's shape)."""
    kernel, (_, rows, size) = in_use(), noise.shape
    x = torch.empty(path.steps + 1, rows, size + temb.shape[1])
    clean, out = torch.empty(path.steps, rows, size), torch.empty(rows, size)
    net = shape_of(style, parts, x[:1])
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


def gradients_of(ctx: Any, flat: Sequence[Tensor], before: int) -> list[Any]:
    """Return memory for the gradients that are needed of a call's last inputs, `before` others before them.

    What is summed over rows begins at 0.
    """
    a_leaf, found = False, []  # one of them is enough: each costs an exception to find out, and none too much
    for i, part in enumerate(flat):
        needed = (a_leaf and part.is_leaf) or needs(ctx, before + i)
        a_leaf = a_leaf or (needed and part.is_leaf)
        empty = torch.empty if i < ctx.count and ctx.net.rows else torch.zeros
        found.append(empty(part.shape) if needed and part.requires_grad else None)
    return found


def needs(ctx: Any, i: int) -> bool:
    """Say whether the way back that is going on wants the gradient of the i-th tensor that a call was given.

    ctx.needs_input_grad says which could have one: a critic's weights too, where an actor climbs its values.
    """
    node = ctx.next_functions[i][0]
    if node is None:
        return False
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:  # torch's answer for a leaf that torch.autograd.grad was asked for
        return True


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


def shape_of(style: Style, parts: Parts, x: Tensor) -> Net:
    """Describe a net and the rows it gets, (E, B, in)."""
    lies = tuple((weight.shape, weight.stride()) for weight in parts.weights)
    by_row = parts.weights[0].dim() == parts.biases[0].dim() == 2
    net = Net.from_buffer_copy(described(style, by_tiles(), by_row, lies))
    net.members, net.rows, size = x.shape
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


def in_use() -> Kernel:
    """Return the kernel, which is there wherever `serves` says so."""
    kernel = kernel_in_use()
    assert kernel is not None
    return kernel


def enough(failed: int) -> None:
    """Say so where a call found no memory."""
    if failed:
        raise MemoryError("there is no memory for a network's layers; lower batch_size or width")
