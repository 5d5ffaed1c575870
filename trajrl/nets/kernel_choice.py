"""What is faster on this processor, torch's operations or the compiled kernels: timed at the start."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch

from trajrl.core.console import say
from trajrl.core.rng import torch_stream
from trajrl.nets.activation import use_kernel
from trajrl.nets.mlp import MLP

SIZE, REPEATS = 256, 24  # rows, and units of two hidden layers; how often they are timed
GAIN = 0.9  # of the time that torch's operations take: above it other last bits are not worth it


def faster(seconds: Callable[[], float] | None = None) -> str:
    """Return `compiled` or `torch`, whichever is to be used, and say what both took.

    Args:
        seconds: what times a net as it is computed now; None: the least of some times forward and back
    """
    seconds = seconds or seconds_per_net
    use_kernel(False)
    by_torch = seconds()
    if not use_kernel(True):
        return "torch"
    by_kernel = seconds()
    found = "compiled" if by_kernel < GAIN * by_torch else "torch"
    use_kernel(found == "compiled")
    times = f"{by_kernel * 1e6:.0f} us by the compiled kernels, {by_torch * 1e6:.0f} us by torch's operations"
    say(f"kernels={found}: two layers of {SIZE} units, {SIZE} rows forward and back, take {times}")
    return found


def seconds_per_net() -> float:
    """Return what a small net takes, forward and back: the least of some times, whoever else computes."""
    rng, took = torch_stream(0, "kernel_choice"), []
    net, x = MLP(SIZE, (SIZE, SIZE), 1, rng), torch.randn(SIZE, SIZE, generator=rng)
    for _ in range(REPEATS):
        began = perf_counter()
        torch.autograd.grad(net(x).sum(), list(net.parameters()))
        took.append(perf_counter() - began)
    return min(took)
