"""Which Mish is faster on this processor, torch's operations or the compiled kernel: timed at the start."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch

from trajrl.core.console import say
from trajrl.nets.activation import mish, use_kernel

SIZE, REPEATS = 256, 40  # rows and columns of a layer's output; how often it is timed
GAIN = 0.9  # of the time that torch's operations take: above it other last bits are not worth it


def faster(seconds: Callable[[], float] | None = None) -> str:
    """Return `compiled` or `torch`, whichever is to be used, and say what both took.

    Args:
        seconds: what times the Mish in use; None: the median of some layers forward and back
    """
    seconds = seconds or seconds_per_layer
    use_kernel(False)
    by_torch = seconds()
    if not use_kernel(True):
        return "torch"
    by_kernel = seconds()
    found = "compiled" if by_kernel < GAIN * by_torch else "torch"
    use_kernel(found == "compiled")
    times = f"{by_kernel * 1e6:.0f} us by the compiled kernel, {by_torch * 1e6:.0f} us by torch's operations"
    say(f"kernels={found}: Mish of {SIZE}x{SIZE}, forward and back, takes {times}")
    return found


def seconds_per_layer() -> float:
    """Return what the Mish in use takes on one layer, forward and back."""
    x = torch.linspace(-5, 5, SIZE * SIZE).view(SIZE, SIZE).requires_grad_()
    slope, took = torch.ones(SIZE, SIZE), []
    for _ in range(REPEATS):
        began = perf_counter()
        torch.autograd.grad(mish(x), x, slope)
        took.append(perf_counter() - began)
    return median(took[REPEATS // 4 :])
