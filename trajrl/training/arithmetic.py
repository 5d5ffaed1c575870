"""How a run's process computes: its threads, its products, its kernels."""

from __future__ import annotations

from dataclasses import replace

import torch

from trajrl.core import cpu
from trajrl.core.console import say
from trajrl.core.products import EXACT, say_if_halves_are_slow, set_products
from trajrl.nets.activation import use_kernel
from trajrl.nets.kernel import compiled
from trajrl.nets.kernel_choice import faster
from trajrl.training.config import RunConfig

TIMED = "auto"  # of kernels: the faster, timed at the start


def set_arithmetic(config: RunConfig) -> tuple[int, dict[str, str]]:
    """Compute as a run's config says; returns the threads, and for versions.json what is not by default."""
    number = cpu.set_threads(config.threads)
    on_gpu = config.device != "cpu" and torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    kernels = config.kernels != "torch" and not on_gpu
    rounding = config.matmul == "fast" and kernels and kernels_can_round()
    products = set_products(config.matmul, device, rounding)
    if config.dtype == "bfloat16" and not on_gpu:
        say_if_halves_are_slow()
    wanted = faster() if config.kernels == TIMED else config.kernels
    own = use_kernel(wanted == "compiled")
    if rounding and not own:
        products = set_products(config.matmul, device)
    if config.matmul == "exact":
        return number, {"kernels": "compiled"} if own else {}
    if products.startswith(EXACT) and config.kernels == "torch" and cpu.has_halves(cpu.CPUINFO):
        say("--set kernels=compiled has such products on this processor")
    return number, {"matmul": products, **({"kernels": "compiled"} if own else {})}


def kernels_can_round() -> bool:
    """Say whether the compiled kernels have products of rounded factors here."""
    kernel = compiled()
    return kernel is not None and kernel.halves


def as_measured(config: RunConfig, threads: int, found: dict[str, str], processes: int) -> RunConfig:
    """Return a config with what was timed in place of the wish to time: what continues has the same bits."""
    if config.kernels == TIMED and processes > 1:
        raise ValueError("kernels=auto is for one process: each could choose another; name torch or compiled")
    kernels = found.get("kernels", "torch") if config.kernels == TIMED else config.kernels
    threads = threads if config.threads == cpu.MEASURED else config.threads
    return replace(config, threads=threads, kernels=kernels)
