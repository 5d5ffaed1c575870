"""Import or examine a file in a child process, and say how it ended and what memory it took."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
CHILD = """
import resource, sys
import h5py, numpy, pickle
import trajrl.formats.pickle.reader, trajrl.formats.npz.reader, trajrl.formats.d4rl.reader
from trajrl.formats import open_source
from trajrl.formats.doctor import examine

def kib():
    lines = open("/proc/self/status")
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

before = kib()
try:
    if sys.argv[2] == "doctor":
        print(examine(lambda: open_source(sys.argv[1])).findings[0].what)
    else:
        print(sum(len(episode) for episode in open_source(sys.argv[1]).episodes()), "steps")
except (ValueError, OSError) as error:
    print(error)
print((kib() - before) >> 10)
"""


class Outcome(NamedTuple):
    """How the child ended."""

    code: int  # negative: the signal that ended it
    said: str
    mebibytes: int  # memory beyond what the libraries take


def opened(path: Path, how: str = "import", seconds: float = 20) -> Outcome:
    """Open a file in a child and read it through; one that hangs fails the test."""
    command = [sys.executable, "-c", CHILD, str(path), how]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    lines = ended.stdout.splitlines() or ["", "0"]
    return Outcome(ended.returncode, "\n".join(lines[:-1]), int(lines[-1]))
