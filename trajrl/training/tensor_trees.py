"""Nested tuples of tensors, such as a batch and its noise: their tensors in order, and a nest like them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def leaves(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested tuples, in order."""
    if isinstance(tree, Tensor):
        yield tree
    for part in tree if isinstance(tree, tuple) else ():
        yield from leaves(part)


def mapped(function: Callable[..., Any], *trees: Any) -> Any:
    """Return nested tuples with `function` of the tensors that stand in one place of all trees."""
    first = trees[0]
    if isinstance(first, tuple):
        parts = [mapped(function, *places) for places in zip(*trees, strict=True)]
        return first._make(parts) if hasattr(first, "_make") else tuple(parts)
    return function(*trees) if isinstance(first, Tensor) else first


def stacked(trees: Sequence[Any]) -> Any:
    """Return one tree of the tensors of several, stacked: (R, ...)."""
    return mapped(lambda *parts: torch.stack(parts), *trees)
