"""How torch computes on the processor: its threads, memory kept for the next update, its products.

Small networks want one thread.  Two threads that share their cores with other work wait for each other at
every product, which can make a run ten times slower: that is said in one line.
"""

from __future__ import annotations

import ctypes
import os

from trajrl.products import use_onednn
from trajrl.speak import say

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt
KEPT = 32 * 2**20  # bytes, the most that glibc takes as its threshold


def set_threads(asked: int = 0) -> None:
    """Set torch's threads, as asked, else as OMP_NUM_THREADS says, else one, and how they compute."""
    import torch

    threads = asked or int(os.environ.get("OMP_NUM_THREADS", 1))
    keep_freed_memory()
    use_onednn()
    if warning := crowded(threads, os.getloadavg()[0], len(os.sched_getaffinity(0))):
        say(warning)
    torch.set_num_threads(threads)


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
