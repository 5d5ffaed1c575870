"""Several seeds as one program: under torch.vmap code sees one seed, and `across` takes all of them at once.

    stacking()              inside it, tensors of a stack hide their leading axis of R seeds
    across(f, x, weight)    f(x (R, ...), weight (R, ...)) of a stack's tensors, f(x, weight) of any other

vmap finds most rules by itself.  Some calls have none (a GRU, lists of tensors), a slow one (a product with a
bias), or are no function at all (a step of an optimiser): they state here what to do with the seeds' axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_open = 0  # stacks that run now


@contextmanager
def stacking() -> Iterator[None]:
    """Let `across` look for tensors of a stack."""
    global _open
    _open += 1
    try:
        yield
    finally:
        _open -= 1


def is_stacked(x: Tensor) -> bool:
    """Say whether a tensor is one seed's view of a stack."""
    return bool(_open) and torch._C._functorch.is_batchedtensor(x)


def across(function: Callable[..., Any], *tensors: Tensor) -> Any:
    """Call `function` with every seed's tensors, (R, ...) each; it returns a tensor (R, ...) or None.

    Where none of them is of a stack, it is called with them as they are.
    """
    level = max(map(_level, tensors)) if _open else -1
    if level < 0:
        return function(*tensors)
    from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack

    whole = [_whole(x) for x in tensors]
    seeds = next(x.shape[0] for x, given in zip(whole, tensors) if x is not given)
    with temporarily_pop_interpreter_stack(), torch._C.DisableTorchFunction():  # a mode sees none of it
        every = [x.expand(seeds, *x.shape) if x is given else x for x, given in zip(whole, tensors)]
        found = function(*every)
    return found if found is None else torch._C._functorch._add_batch_dim(found, 0, level)


def of_every_seed(function: Callable[[], Tensor]) -> Tensor:
    """Return one seed's view of what `function` gives for all, (R, ...)."""
    from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack

    level = torch._C._functorch.maybe_current_level()
    assert level is not None, "there is no stack"
    with temporarily_pop_interpreter_stack():
        found = function()
    return torch._C._functorch._add_batch_dim(found, 0, level)


def leaf(x: Tensor) -> Tensor:
    """Return x as the start of a graph of its own, to take gradients at."""
    return across(lambda every: every.detach().requires_grad_(), x)


def gradient(values: Tensor, at: Tensor) -> Tensor:
    """Return the gradient of sum(values) at a leaf."""
    return across(lambda every, start: torch.autograd.grad(every.sum(), start)[0], values, at)


def _level(x: Tensor) -> int:
    """Return the depth of the vmap that a tensor belongs to; -1 without one."""
    return torch._C._functorch.maybe_get_level(x) if torch._C._functorch.is_batchedtensor(x) else -1


def _whole(x: Tensor) -> Tensor:
    """Return the tensor of all seeds (R, ...) behind that of one; any other as it is."""
    if _level(x) < 0:
        return x
    axis = torch._C._functorch.maybe_get_bdim(x)
    whole = torch._C._functorch.get_unwrapped(x)
    return whole.movedim(axis, 0) if axis else whole
