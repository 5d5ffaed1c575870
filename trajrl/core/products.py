"""How exactly torch multiplies float32 matrices: `--matmul exact|fast`.

exact   float32 factors and float32 sums, by the faster library (core/cpu.py)
fast    factors rounded, float32 sums: to TF32's ten bits on a GPU, to bfloat16's seven on a processor: by
        oneDNN where it has AMX tiles, in the compiled kernels where it has any instruction for it.
        A processor without such products multiplies exactly, and one line says so.
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
_torch_rounds = _kernels_round = False  # whether they multiply rounded factors in this process now
SLOWER = 2.0  # times that a bfloat16 product takes as long as a float32 one, from which on a line says so


def set_products(kind: str, device: str, by_kernels: bool = False) -> str:
    """Multiply so from now on, in this whole process; returns what is done, for versions.json.

    Args:
        device: the kind that learns, cuda or cpu
        by_kernels: whether the compiled kernels are used and have such products on this processor
    """
    global _torch_rounds, _kernels_round
    import torch

    _torch_rounds = _kernels_round = False
    if kind == "exact":
        _exact()  # a run before in this process may have asked for less
        return EXACT
    torch.set_float32_matmul_precision("high" if device == "cuda" else "medium")
    _torch_rounds, _kernels_round = device == "cuda" or not cpu.precise(), by_kernels
    if _torch_rounds:
        return ROUNDED[device]
    _exact()
    if by_kernels:
        return f"{ROUNDED[device]}, in the compiled kernels"
    say("--matmul fast: torch has no products of bfloat16 factors and float32 sums on this processor; "
        "they stay exact")  # fmt: skip
    return f"{EXACT}: fast was asked for, and torch has no such products on this processor"


def kernels_round() -> bool:
    """Say whether the compiled kernels are to round factors now."""
    return _kernels_round


def _exact() -> None:
    """Multiply with float32 factors, by the faster library."""
    import torch

    torch.set_float32_matmul_precision("highest")
    cpu.use_onednn()


@contextmanager
def exactly() -> Iterator[None]:
    """Multiply with float32 factors for a while, as acting does, however this process learns."""
    # Where torch can round factors no other library is faster; where it cannot there is nothing to change.
    with _for_a_while("highest" if _torch_rounds else None, rounds=False):
        yield


@contextmanager
def rounded() -> Iterator[None]:
    """Round factors for a while wherever this processor can, in torch's products and in the kernels'."""
    with _for_a_while("medium", rounds=True):
        yield


@contextmanager
def _for_a_while(precision: str | None, rounds: bool) -> Iterator[None]:
    """Set torch's precision, unless None, and whether there is rounding; then all as it was.

    The precision is not even read where it stays: a program that uses torch's newer settings cannot.
    """
    global _torch_rounds, _kernels_round
    import torch

    before = _torch_rounds, _kernels_round
    own = None if precision is None else torch.get_float32_matmul_precision()
    _torch_rounds = _kernels_round = rounds
    if precision is not None:
        torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        _torch_rounds, _kernels_round = before
        if own is not None:
            torch.set_float32_matmul_precision(own)


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
