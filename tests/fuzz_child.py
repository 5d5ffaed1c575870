"""The child of tests/fuzz.py: reads damaged files, one after the other, under bounds of time and memory.

Run as `python fuzz_child.py TARGET FIRST STOP`.  One JSON line before each case, one for each failure, one
at the end.  The bound on memory is one of address space: what would take more fails at once.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from fuzz import MEBIBYTES, SECONDS, case_rng
from fuzz_targets import BAD, TARGETS

EXPECTED = (ValueError, KeyError, OSError)
NAME = f"{os.sep}case{os.sep}"  # the folder of the damaged file is in every refusal


def tell(**what: object) -> None:
    """Print one line."""
    print(json.dumps(what), flush=True)


def bound_memory(num_bytes: int) -> None:
    """Let the process take so much more address space than it has now."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + num_bytes, resource.RLIM_INFINITY))


def judged(error: BaseException) -> str:
    """Return what is wrong with a refusal; empty if nothing is."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if not isinstance(error, EXPECTED):
        return f"{type(error).__name__}: {text}"
    if NAME not in text:
        return f"{type(error).__name__} that names no file: {text}"
    return f"{type(error).__name__} of several lines: {text}" if "\n" in text else ""


def main() -> None:
    """Try the cases."""
    target, first, stop = {**TARGETS, "bad": BAD}[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    refused = 0
    try:
        good = target.write(folder / "good")
        target.read(good)  # a good file is read; and everything is imported before memory is bounded
        bound_memory((MEBIBYTES << 20) + 4 * target.size(good) + (target.headroom << 20))
        for number in range(first, stop):
            tell(case=number)
            os.environ["FUZZ_CASE"] = str(number)
            place = target.damage(good, folder / "case", case_rng(sys.argv[1], number))
            signal.alarm(SECONDS)
            try:
                target.read(place)
            except BaseException as error:
                signal.alarm(0)
                refused += 1
                if wrong := judged(error):
                    tell(case=number, failure=wrong)
            signal.alarm(0)
        tell(end=stop, refused=refused)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
