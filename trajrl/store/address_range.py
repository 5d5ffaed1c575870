"""AddressRange: one range of addresses into which parts of several files are mapped, read-only.

Rows of many files then lie in one array, and numpy's own `take` reads them.  What nothing was mapped to reads
as zeros.  Pages begin at multiples of PAGE; a part of a file begins within its page as it does in the file.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os

import numpy as np

PAGE = mmap.ALLOCATIONGRANULARITY
_SHARED, _FIXED = 0x01, 0x10  # of sys/mman.h, the same on Linux, macOS and the BSDs


class AddressRange:
    """Addresses reserved without memory; they live as long as an array made of them."""

    def __init__(self, num_bytes: int) -> None:
        """Reserve at least `num_bytes`, from a page's beginning on."""
        size = max(PAGE, -(-num_bytes // PAGE) * PAGE)
        try:
            reserved = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise MemoryError(f"no {size >> 20} MiB of addresses are free ({error})") from error
        self._bytes = np.frombuffer(reserved, np.uint8)

    def place(self, descriptor: int, offset: int, num_bytes: int, at: int) -> None:
        """Map bytes [offset, offset + num_bytes) of an open file to begin at byte `at` of the range.

        `offset` and `at` must lie equally far into their pages.  The file may be closed afterwards.
        """
        into = offset % PAGE
        if at % PAGE != into or at < 0 or at + num_bytes > len(self._bytes):
            raise ValueError(f"byte {offset} of a file cannot lie at {at} of {len(self._bytes)} addresses")
        where, size = self._bytes.ctypes.data + at - into, num_bytes + into
        found = _mmap(where, size, mmap.PROT_READ, _SHARED | _FIXED, descriptor, offset - into)
        if found != where:
            number = ctypes.get_errno()
            why = os.strerror(number)
            if number == errno.ENOMEM:
                why += ": more parts of files are mapped than the system allows one process"
            raise OSError(number, why)

    def array(self, dtype: np.dtype, shape: tuple[int, ...], at: int) -> np.ndarray:
        """Return the range from byte `at` on as an array that cannot be written."""
        count = int(np.prod(shape, dtype=object))
        return np.frombuffer(self._bytes, dtype, count, at).reshape(shape)


def _libc_mmap() -> ctypes._NamedFuncPointer:
    """Return the system's mmap: Python's own cannot be told where to map."""
    function = ctypes.CDLL(None, use_errno=True).mmap
    function.restype = ctypes.c_void_p
    function.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_longlong,
    )  # fmt: skip
    return function


_mmap = _libc_mmap()
