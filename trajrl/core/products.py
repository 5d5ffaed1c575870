"""How exactly torch multiplies float32 matrices: `--matmul exact|fast`.

exact   float32 factors and float32 sums, by the faster library (core/cpu.py)
fast    factors rounded, float32 sums: to TF32's ten bits on a GPU, to bfloat16's seven on a processor with
        AMX tiles, by oneDNN.  A processor without such products multiplies exactly, and one line says so.
        Actions are chosen exactly all the same: a choice among candidates by rounded Q is a worse one.

Weights, activations and sums stay float32; --dtype bfloat16 rounds activations too.  A processor that has no
instructions for it takes its products apart, one number at a time: that is timed, and said.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import process_time
from typing import TYPE_CHECKING

from trajrl.core import cpu
from trajrl.core.console import say

if TYPE_CHECKING:
    import torch

KINDS = ("exact", "fast")
ROUNDED = {"cuda": "factors in TF32, sums in float32", "cpu": "factors in bfloat16, sums in float32"}
EXACT = "float32"
_rounds = False  # whether this process multiplies rounded factors now
SLOWER = 2.0  # times that a bfloat16 product takes as long as a float32 one, from which on a line says so


def set_products(kind: str, device: str) -> str:
    """Multiply so from now on, in this whole process; returns what is done, for versions.json.

    Args:
        device: the kind that learns, cuda or cpu
    """
    global _rounds
    import torch

    _rounds = False
    if kind == "exact":
        _exact()  # a run before in this process may have asked for less
        return EXACT
    torch.set_float32_matmul_precision("high" if device == "cuda" else "medium")
    if device == "cuda" or not cpu.precise():
        _rounds = True
        return ROUNDED[device]
    _exact()
    say("--matmul fast: this processor has no products of bfloat16 factors and float32 sums; they stay exact")
    return f"{EXACT}: fast was asked for, and this processor has no such products"


def _exact() -> None:
    """Multiply with float32 factors, by the faster library."""
    import torch

    torch.set_float32_matmul_precision("highest")
    cpu.use_onednn()


@contextmanager
def exactly() -> Iterator[None]:
    """Multiply with float32 factors for a while, as acting does, however this process learns."""
    if not _rounds:
        yield
        return
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")  # where factors can be rounded no other library is faster
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def say_if_halves_are_slow() -> None:
    """Say so where this processor multiplies bfloat16 slower than float32."""
    import torch

    whole, half = (seconds_of_product(kind) for kind in (torch.float32, torch.bfloat16))
    if half > SLOWER * whole:
        say(
            "--dtype bfloat16: this processor has no instructions for it, and a product takes "
            f"{half / whole:.0f} times as long as in float32; leave --dtype out to be faster"
        )


def seconds_of_product(kind: torch.dtype, size: int = 256, repeats: int = 3) -> float:
    """Return what a product of two square matrices takes, the least of some repeats."""
    import torch

    x, took = torch.full((size, size), 1 / size, dtype=kind), []
    for _ in range(repeats + 1):  # the first prepares the library
        began = process_time()
        x @ x
        took.append(process_time() - began)
    return min(took[1:])
