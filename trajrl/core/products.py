"""How exactly torch multiplies float32 matrices: `--matmul exact|fast`.

exact   float32 factors and float32 sums, by the faster library (core/cpu.py)
fast    factors rounded, float32 sums: to TF32's ten bits on a GPU, to bfloat16's seven on a processor with
        AMX tiles, by oneDNN.  A processor without such products multiplies exactly, and one line says so.

Weights, activations and sums stay float32; --dtype bfloat16 rounds activations too.
"""

from __future__ import annotations

from trajrl.core import cpu
from trajrl.core.console import say

KINDS = ("exact", "fast")
ROUNDED = {"cuda": "factors in TF32, sums in float32", "cpu": "factors in bfloat16, sums in float32"}
EXACT = "float32"


def set_products(kind: str, device: str) -> str:
    """Multiply so from now on, in this whole process; returns what is done, for versions.json.

    Args:
        device: the kind that learns, cuda or cpu
    """
    import torch

    if kind == "exact":
        torch.set_float32_matmul_precision("highest")  # a run before in this process may have asked for less
        cpu.use_onednn()
        return EXACT
    torch.set_float32_matmul_precision("high" if device == "cuda" else "medium")
    if device == "cuda" or not cpu.precise():
        return ROUNDED[device]
    torch.set_float32_matmul_precision("highest")
    cpu.use_onednn()
    say("--matmul fast: this processor has no products of bfloat16 factors and float32 sums; they stay exact")
    return f"{EXACT}: fast was asked for, and this processor has no such products"
