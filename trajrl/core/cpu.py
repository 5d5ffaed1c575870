"""How torch computes on the processor: its threads, the memory it keeps, the library that multiplies.

One thread is the default: it gives the same bits on every machine and never waits for another.  Two threads
that share their cores with other work wait for each other at every product, which can make a run ten times
slower: that is said in one line.  MEASURED times a step of the usual size with 1, 2, 4 ... threads first.

torch multiplies float32 matrices with MKL, which on AMD's processors uses half of their vector units.
oneDNN, which comes with torch too, uses all of them: 230 GFLOP/s instead of 107 on one core of an EPYC of
the fifth generation.  The fourth takes its wide vectors in two halves: there both reach 100 to 115.
torch has one switch that sends products there, the precision "medium", named after what oneDNN may do on
processors with AMX tiles: round the factors to bfloat16.  Those keep MKL; on others the numbers stay
float32, which is tried before it is relied on.  Beside a GPU, where the switch would round the GPU's
products, it is left alone.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

from trajrl.core.console import say

CPUINFO = Path("/proc/cpuinfo")
PRECISE = 1e-3  # of sums of 256 products of normal numbers: float32 is off by 4e-5, bfloat16 by 2e-1

MAKERS = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}
VECTORS = {"amx_tile": "amx", "avx512f": "avx512", "avx2": "avx2"}  # the widest first

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt
KEPT = 32 * 2**20  # bytes, the most that glibc takes as its threshold


MEASURED = -1  # asked for: as many threads as are fastest now
GAIN = 0.85  # of the time that fewer threads take: above it more are not worth their cores


def set_threads(asked: int = 0) -> int:
    """Set torch's threads, as asked, else as OMP_NUM_THREADS says, else one, and how they compute.

    Returns how many there are.
    """
    import torch

    if asked < MEASURED:
        raise ValueError(f"threads are 1 or more, 0 (one) or {MEASURED} (measured); got {asked}")
    keep_freed_memory()
    use_onednn()
    if asked == MEASURED:
        threads = fastest(len(os.sched_getaffinity(0)))
        say(f"{threads} thread{'s' if threads > 1 else ''}: measured on {len(os.sched_getaffinity(0))} cores")
        return threads
    threads = asked or from_environment()
    if warning := crowded(threads, os.getloadavg()[0], len(os.sched_getaffinity(0))):
        say(warning)
    torch.set_num_threads(threads)
    return threads


def from_environment() -> int:
    """Return what OMP_NUM_THREADS says, of a list the first number; 1 where it says nothing."""
    said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if said and not (said.isdigit() and int(said)):
        raise ValueError(f"OMP_NUM_THREADS is a number of threads, 1 or more; got '{said}'")
    return int(said or 1)


def fastest(cores: int) -> int:
    """Return the number of threads, 1, 2, 4 ..., with which a step takes least time; torch keeps to it."""
    import torch

    best, least = 1, seconds_per_step(1)
    for threads in (2**power for power in range(1, cores.bit_length())):
        took = seconds_per_step(threads)
        if took > GAIN * least:
            break
        best, least = threads, took
    torch.set_num_threads(best)
    return best


def seconds_per_step(threads: int, size: int = 256, repeats: int = 15) -> float:
    """Return what three layers of `size` units take, forward and back: the median of some repeats."""
    import torch

    torch.set_num_threads(threads)
    x = torch.full((size, size), 1 / size)
    weight = x.clone().requires_grad_()
    took = []
    for _ in range(repeats):
        began, y = perf_counter(), x
        for _ in range(3):
            y = torch.nn.functional.silu(y @ weight)
        torch.autograd.grad(y.sum(), weight)
        took.append(perf_counter() - began)
    return median(took[repeats // 3 :])


def crowded(threads: int, load: float, cores: int) -> str:
    """Return a line where several threads would share their cores with other work, else nothing."""
    if threads == 1 or threads + load < cores + 1:
        return ""
    return (
        f"{threads} threads on {cores} cores that already carry a load of {load:.1f}: threads that share "
        "cores wait for each other, and one thread may be ten times faster"
    )


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed; returns whether it could.

    By default it hands the large blocks of an update back to the system and takes them anew in the next one:
    1,600 page faults per update of the default agent instead of 20.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(MMAP_THRESHOLD, KEPT) and mallopt(TRIM_THRESHOLD, 8 * KEPT))


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
    """Return whether the processor has wide vectors that MKL leaves unused, and no tiles that round."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return False
    words = set(text.split())
    return "AuthenticAMD" in words and "avx512f" in words and "amx_tile" not in words


def has_halves(cpuinfo: Path) -> bool:
    """Return whether the processor multiplies factors in bfloat16 and sums in float32 by vectors."""
    return cpuinfo.exists() and "avx512_bf16" in cpuinfo.read_text().split()


def kind_of(cpuinfo: Path) -> str:
    """Return the kind of processor that speeds are compared within: its maker, and its widest vectors."""
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    words = set(text.split())
    maker = next((name for mark, name in MAKERS.items() if mark in words), "other")
    vectors = next((name for flag, name in VECTORS.items() if flag in words), "")
    core = zen(number("cpu family", text), number("model", text), vectors) if maker == "amd" else ""
    vectors = core or vectors
    return f"{maker}-{vectors}" if vectors else maker


def zen(family: int, model: int, vectors: str) -> str:
    """Return the generation of an AMD core; "" of any that is not known.

    Vectors of 256 bits are one operation from the second on, those of 512 bits from the fifth.
    """
    if family == 23:
        return "zen2" if model >= 48 else "zen1"
    if family == 25:
        return "zen4" if vectors == "avx512" else "zen3"
    return "zen5" if family == 26 else ""


def number(word: str, text: str) -> int:
    """Return what /proc/cpuinfo says of the first core under a word, 0 where it says nothing."""
    found = re.search(rf"^{word}\s*: (\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def precise() -> bool:
    """Return whether a product has the precision of float32."""
    import torch

    rng = torch.Generator().manual_seed(0)
    left, right = (torch.randn(256, 256, generator=rng) for _ in range(2))
    exact = left.double() @ right.double()
    return bool(((left @ right).double() - exact).abs().max() < PRECISE)
