"""Mish as a small C kernel, for those who ask: one pass over memory, where torch's operations take many.

The machine's own C compiler makes it, for this processor, when a process first wants it; nothing is kept on
disk, and where there is no compiler torch's operations serve, which one line says.  Both round every step to
single precision, in another order: the last bits differ.

    mish(x) = x n / (n + 2),   n = e (e + 2),   e = exp x
    1 - mish'(x) = 2 / (n + 2) (1 - 2 x e (e + 1) / (n + 2))
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor

from trajrl.core.console import say

COMPILERS = ("cc", "gcc", "clang")
FLAGS = (
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-mprefer-vector-width=512",
    "-shared",
    "-fPIC",
)
SECONDS = 60.0  # that compiling may take; it takes half of one
SOURCE = r"""
#include <stdint.h>

static inline float exponential(float x) {      /* of -87 .. 20, to one and a half units of the last place */
    float k = (x * 1.44269504f + 12582912.0f) - 12582912.0f;       /* the nearest whole number */
    float f = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * f + 1.3981999507e-3f;
    p = p * f + 8.3334519073e-3f;
    p = p * f + 4.1665795894e-2f;
    p = p * f + 1.6666665459e-1f;
    p = p * f + 5.0000001201e-1f;
    p = p * f * f + f + 1.0f;
    union { int32_t bits; float number; } scale = { ((int32_t)k + 127) << 23 };
    return p * scale.number;
}

static inline float both(float x, float *rest) {
    float low = x > 20.0f ? 20.0f : x;           /* a comparison with NaN is false: it stays NaN */
    low = low < -87.0f ? -87.0f : low;
    float above = x < -87.0f ? -87.0f : x;
    float e = exponential(low);
    float n = e * (e + 2.0f), share = 1.0f / (n + 2.0f);
    *rest = 2.0f * share * (1.0f - 2.0f * low * (e * (e + 1.0f) * share));
    return above * (n * share);
}

static inline float widened(uint16_t half) {
    union { uint32_t bits; float number; } whole = { (uint32_t)half << 16 };
    return whole.number;
}

static inline uint16_t rounded(float number) {
    union { float number; uint32_t bits; } whole = { number };
    return (uint16_t)((whole.bits + 0x7FFFu + ((whole.bits >> 16) & 1u)) >> 16);
}

void mish_float32(const float *restrict x, float *restrict y, int64_t count) {
    float rest;
    for (int64_t i = 0; i < count; i++) y[i] = both(x[i], &rest);
}

void mish_and_rest_float32(const float *restrict x, float *restrict y, float *restrict rest, int64_t count) {
    for (int64_t i = 0; i < count; i++) y[i] = both(x[i], &rest[i]);
}

void mish_bfloat16(const uint16_t *restrict x, uint16_t *restrict y, int64_t count) {
    float rest;
    for (int64_t i = 0; i < count; i++) y[i] = rounded(both(widened(x[i]), &rest));
}

void mish_and_rest_bfloat16(
    const uint16_t *restrict x, uint16_t *restrict y, uint16_t *restrict rest, int64_t count
) {
    for (int64_t i = 0; i < count; i++) {
        float r;
        y[i] = rounded(both(widened(x[i]), &r));
        rest[i] = rounded(r);
    }
}
"""


class Kernel(NamedTuple):
    """The compiled functions, on tensors on the CPU."""

    library: ctypes.CDLL

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


@cache
def compiled() -> Kernel | None:
    """Return the kernel, compiled once a process; None, and one line, where that cannot be."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        say("kernels=compiled: there is no C compiler here (cc, gcc or clang); torch's operations serve")
        return None
    with TemporaryDirectory() as place:
        source, library = Path(place) / "mish.c", Path(place) / "mish.so"
        source.write_text(SOURCE)
        try:
            words = [compiler, *FLAGS, str(source), "-o", str(library)]
            made = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
            if made.returncode:
                raise OSError((made.stderr.strip().splitlines() or ["it says nothing"])[0])
            found = ctypes.CDLL(str(library))
        except (OSError, subprocess.TimeoutExpired) as error:
            say(f"kernels=compiled: {compiler} makes no kernel ({error}); torch's operations serve")
            return None
    for name, pointers in (("mish", 2), ("mish_and_rest", 3)):
        for kind in ("float32", "bfloat16"):
            function = getattr(found, f"{name}_{kind}")
            function.argtypes, function.restype = [ctypes.c_void_p] * pointers + [ctypes.c_int64], None
    return Kernel(found)
