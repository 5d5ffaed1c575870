"""The compiled kernels: the C of kernels/ as functions, for those who ask (`kernels=compiled`).

The machine's own C compiler makes them, for this processor, when a process first wants them; nothing is kept
on disk, and where there is no compiler torch's operations serve, which one line says.  Both round every step
to single precision, in another order: the last bits differ.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence
from ctypes import POINTER, Structure, c_float, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from trajrl.core.console import say

SOURCE = Path(__file__).parent / "kernels" / "layers.c"
COMPILERS = ("cc", "gcc", "clang")
FLAGS = (
    "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-mprefer-vector-width=512", "-shared",
    "-fPIC",
)  # fmt: skip
THREADS = ("-fopenmp",), ()  # the second where a compiler has no OpenMP: one thread does all
SECONDS = 60.0  # that compiling may take; it takes three
MOST = 16  # layers of a net, as in kernels/layers.h


class Net(Structure):
    """The shape of a net and how its weights lie, as in kernels/layers.h."""

    _fields_ = (
        ("fast", c_int64), ("activation", c_int64), ("norm", c_int64), ("members", c_int64),
        ("rows", c_int64), ("layers", c_int64), ("threads", c_int64), ("x_apart", c_int64),
        ("bias_down", c_int64),
        ("width", c_int64 * (MOST + 1)),
        ("apart", c_int64 * MOST), ("along_in", c_int64 * MOST), ("along_out", c_int64 * MOST),
        ("eps", c_float),
    )  # fmt: skip


class Step(Structure):
    """The numbers of one denoising step, as in kernels/layers.c."""

    _fields_ = tuple((name, c_float) for name in ("keep", "sigma", "inverse", "c1", "c2", "s"))


class Chain(Structure):
    """A chain's steps."""

    _fields_ = (("steps", c_int64), ("actions", c_int64), ("step", POINTER(Step)))

    @classmethod
    def of(cls, steps: Sequence[Step], actions: int) -> Chain:
        """Return the steps of actions of so many numbers."""
        return cls(len(steps), actions, (Step * len(steps))(*steps))


class Kernel:
    """The compiled functions, on tensors on the CPU."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library, self.halves = library, bool(library.has_halves())
        self.kept_size = declared(library.kept_size, 1, c_int64)
        self.forward, self.backward = declared(library.forward, 5), declared(library.backward, 6)
        self.chain_forward = declared(library.chain_forward, 9)
        self.chain_backward = declared(library.chain_backward, 9)
        for name, count in (("mish", 2), ("mish_and_rest", 3)):
            for kind in ("float32", "bfloat16"):
                function = getattr(library, f"{name}_{kind}")
                function.argtypes, function.restype = [c_void_p] * count + [c_int64], None

    def mish(self, x: Tensor) -> Tensor:
        """Return mish(x)."""
        x = x.contiguous()
        found = torch.empty_like(x)
        self._of("mish", x)(x.data_ptr(), found.data_ptr(), x.numel())
        return found

    def mish_and_rest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mish(x) and 1 - mish'(x)."""
        x = x.contiguous()
        found, rest = torch.empty_like(x), torch.empty_like(x)
        self._of("mish_and_rest", x)(x.data_ptr(), found.data_ptr(), rest.data_ptr(), x.numel())
        return found, rest

    def _of(self, name: str, x: Tensor) -> Callable[..., None]:
        found: Callable[..., None] = getattr(self.library, f"{name}_{str(x.dtype).removeprefix('torch.')}")
        return found


def declared(function: Callable[..., int], pointers: int, result: type = c_int) -> Callable[..., int]:
    """Return a function of the library that takes so many pointers."""
    function.argtypes, function.restype = [c_void_p] * pointers, result  # type: ignore[attr-defined]
    return function


@cache
def compiled() -> Kernel | None:
    """Return the kernel, compiled once a process; None, and one line, where that cannot be."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        say("kernels=compiled: there is no C compiler here (cc, gcc or clang); torch's operations serve")
        return None
    with TemporaryDirectory() as place:
        for threads in THREADS:
            try:
                return Kernel(ctypes.CDLL(made(compiler, Path(place) / "layers.so", *threads)))
            except OSError as error:
                failed = str(error)
            except subprocess.TimeoutExpired:
                failed = f"it took more than {SECONDS:.0f} s"
                break
    say(f"kernels=compiled: {compiler} makes no kernel ({failed}); torch's operations serve")
    return None


def made(compiler: str, library: Path, *more: str) -> str:
    """Compile the kernels; returns the library's path, or raises OSError with the compiler's first line."""
    words = [compiler, *FLAGS, *more, str(SOURCE), "-o", str(library), "-lm"]
    found = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    if found.returncode:
        raise OSError((found.stderr.strip().splitlines() or ["it says nothing"])[0])
    return str(library)
