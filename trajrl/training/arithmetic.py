"""How a run's process computes: its threads, its products, its kernels."""

from __future__ import annotations

import torch

from trajrl.core import cpu
from trajrl.core.products import set_products
from trajrl.nets.activation import use_kernel
from trajrl.training.config import RunConfig


def set_arithmetic(config: RunConfig) -> tuple[int, dict[str, str]]:
    """Compute as a run's config says; returns the threads, and for versions.json what is not by default."""
    number = cpu.set_threads(config.threads)
    on_gpu = config.device != "cpu" and torch.cuda.is_available()
    products = set_products(config.matmul, "cuda" if on_gpu else "cpu")
    own = use_kernel(config.kernels == "compiled")
    found = {"matmul": products} if config.matmul != "exact" else {}
    return number, {**found, "kernels": "compiled"} if own else found
