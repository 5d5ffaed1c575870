"""Products: which of torch's two libraries multiplies float32 matrices on the processor.

torch asks MKL, which on AMD's processors uses half of their vector units.  oneDNN, which comes with torch
too, uses all of them: 230 GFLOP/s instead of 107 on one core of an EPYC.  torch has one switch that sends
products there, the precision "medium", named after what oneDNN may do on processors with AMX tiles: round the
factors to bfloat16.  Those keep MKL; on others the numbers stay float32, which is tried before it is relied
on.  Beside a GPU, where the switch would round the GPU's products, it is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
PRECISE = 1e-3  # of sums of 256 products of normal numbers: float32 is off by 4e-5, bfloat16 by 2e-1


def use_onednn() -> bool:
    """Send products to oneDNN where that is faster and as exact; returns whether they go there."""
    import torch

    if torch.cuda.is_available() or not suits(CPUINFO):
        return False
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    if not precise():
        torch.set_float32_matmul_precision(before)
        return False
    return True


@contextmanager
def as_torch_has_it() -> Iterator[None]:
    """Leave the choice to torch for a while: what others' code meets, to be timed beside ours."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def suits(cpuinfo: Path) -> bool:
    """Tell whether the processor has wide vectors that MKL leaves unused, and no tiles that round."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return False
    words = set(text.split())
    return "AuthenticAMD" in words and "avx512f" in words and "amx_tile" not in words


def precise() -> bool:
    """Tell whether a product has the precision of float32."""
    import torch

    rng = torch.Generator().manual_seed(0)
    left, right = (torch.randn(256, 256, generator=rng) for _ in range(2))
    exact = left.double() @ right.double()
    return bool(((left @ right).double() - exact).abs().max() < PRECISE)
