"""Whole perceptrons in one call of the compiled kernels (chains of denoising steps: fused_chain.py).

What torch does in a dozen operations a layer, each through memory and autograd, kernels/layers.c does in one
pass: products, biases, layer norms, activations, and the way back.  A run asks for it (`kernels=compiled`);
with `--matmul fast` factors are rounded to bfloat16 where the processor has instructions for such products.

Whatever these calls do not do (other activations, dropout, autocast, second derivatives) torch does, layer by
layer.  The nets of several seeds that are one program (stacked.py) are members of one net.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import byref
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trajrl.core.products import kernels_round
from trajrl.nets.activation import kernel_in_use
from trajrl.nets.kernel import MOST, Kernel, Net
from trajrl.nets.net_layout import ACTIVATIONS, Parts, Style, as_members, at, pointers, shape_of
from trajrl.nets.stacked import across, is_stacked

UNGATED = ("mish", "relu")


def serves(style: Style, x: Tensor, weight: Tensor) -> bool:
    """Say whether these calls were asked for and do a net's work on x; weight is its first.

    Torch's products and gates are as fast as theirs: unless factors are rounded they pay for Mish and ReLU.
    """
    return (
        not torch.compiler.is_compiling()
        and kernel_in_use() is not None
        and style.activation in ACTIVATIONS
        and style.layers <= MOST
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and (rounds() or style.activation in UNGATED)
        and not torch.is_autocast_enabled("cpu")
        and plain(x)
        and plain(weight)
    )


def plain(x: Tensor) -> bool:
    """Say whether a tensor has memory of its own to read, or is one seed's view of a stack that has."""
    return is_stacked(x) or not torch._C._functorch.is_functorch_wrapped_tensor(x)


def rounds() -> bool:
    """Say whether factors are rounded: --matmul fast asks for it, and some processors can."""
    return in_use().halves and kernels_round()


def perceptron(style: Style, parts: Parts, x: Tensor) -> Tensor:
    """Return what a net of weights without members makes of x (..., in), (..., out)."""
    found = ensemble(style, parts, x.reshape(1, x.shape[:-1].numel(), x.shape[-1]))  # (1, B, out)
    return found.view(*x.shape[:-1], found.shape[-1])


def ensemble(style: Style, parts: Parts, x: Tensor) -> Tensor:
    """Return what a net makes of x (E, B, in), (E, B, out); E is 1 for weights without members."""
    if is_stacked(x) or is_stacked(parts.weights[0]):
        return across(partial(of_every_seed, style, len(parts.weights)), x, *parts.flat())
    if wanted(x, *parts.flat()):
        found: Tensor = _Perceptron.apply(style, len(parts.weights), x, *parts.flat())
        return found
    return run(style, parts, rows_of(x), keep=False)[0]


def of_every_seed(style: Style, count: int, x: Tensor, *flat: Tensor) -> Tensor:
    """Return what every seed's net makes of its x (R, E, B, in): they are members of one."""
    parts = as_members(Parts.of(flat, count, style.norm != "none"))
    return ensemble(style, parts, x.flatten(0, 1)).unflatten(0, x.shape[:2])


def of_each_seed(style: Style, parts: Parts, call: Callable[..., Tensor], *given: Tensor) -> Tensor:
    """Return what `call` makes of a net and of what it is given, of every seed's own."""

    def every(*stacks: Tensor) -> Tensor:
        seeds = zip(*(stack.unbind() for stack in stacks), strict=True)
        return torch.stack([call(parts_of(own[len(given) :]), *own[: len(given)]) for own in seeds])

    parts_of = partial(Parts.of, count=len(parts.weights), normed=style.norm != "none")
    return across(every, *given, *parts.flat())


def wanted(*tensors: Tensor) -> bool:
    """Say whether there is a gradient to be found."""
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


def rows_of(x: Tensor) -> Tensor:
    """Return x (E, B, in) with its rows without gaps; members that share theirs go on sharing them."""
    return x[:1].contiguous().expand(x.shape) if x.stride(0) == 0 else x.contiguous()


def run(style: Style, parts: Parts, x: Tensor, keep: bool) -> tuple[Tensor, Tensor | None, Net]:
    """Go forward; returns (out, what the way back needs, the net's shape)."""
    kernel, net = in_use(), shape_of(style, parts, x, rounds())
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


def gradients_of(ctx: Any, flat: Sequence[Tensor], before: int) -> list[Any]:
    """Return memory for the gradients that are needed of a call's last inputs, `before` others before them.

    What is summed over rows begins at 0.
    """
    a_leaf, found = False, []  # one of them is enough: each costs an exception to find out, and none too much
    for i, part in enumerate(flat):
        needed = (a_leaf and part.is_leaf) or needs(ctx, before + i)
        a_leaf = a_leaf or (needed and part.is_leaf)
        like = torch.empty_like if i < ctx.count and ctx.net.rows else torch.zeros_like
        found.append(like(part) if needed and part.requires_grad else None)
    return found


def needs(ctx: Any, i: int) -> bool:
    """Say whether the present backward pass wants the gradient of the i-th tensor that a call was given.

    ctx.needs_input_grad says which could have one: a critic's weights too, where an actor climbs its values.
    """
    node = ctx.next_functions[i][0]
    if node is None:
        return False
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:  # torch's answer for a leaf that torch.autograd.grad was asked for
        return True


def in_use() -> Kernel:
    """Return the kernel, which is there wherever `serves` says so."""
    kernel = kernel_in_use()
    assert kernel is not None
    return kernel


def enough(failed: int) -> None:
    """Say so where a call found no memory."""
    if failed:
        raise MemoryError("there is no memory for a network's layers; lower batch_size or width")
