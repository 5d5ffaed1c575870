"""Hostile files: damaged on purpose, and read in a child whose memory and time are bounded.

    failures = fuzz("d4rl", count)      cases 0 .. count - 1; [] means: each was read, or refused in one line

A case is a pure function of (target, number).  A child that crashes or hangs is one failure, and the next
child continues behind that case.  A refusal must be a ValueError, KeyError or OSError of one line.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

from trajrl.core.rng import stream

ROOT = Path(__file__).parents[1]
CHILD = Path(__file__).with_name("fuzz_child.py")
SECONDS = int(os.environ.get("FUZZ_SECONDS", "10"))  # for one case
MEBIBYTES = 64  # memory above what importing took; and four times the file
SPECIAL = (0, 1, 0x7F, 0x80, 0xFF)
NUMBERS = (0, 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
COUNTS = {"soak-short": 1000, "soak": 10_000}


def cases(short: int) -> int:
    """Return how many cases to try: `short` in an ordinary run of the tests."""
    return COUNTS.get(os.environ.get("HYPOTHESIS_PROFILE", ""), short)


def kills(short: int = 8) -> int:
    """Return how many kills to land on a target."""
    return {"soak-short": 50, "soak": 500}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), short)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage bytes in one to three places."""
    found = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        _damage(found, rng)
    return bytes(found)


def _damage(found: bytearray, rng: np.random.Generator) -> None:
    """Flip a bit, set a byte or a number, cut, repeat, take out, or overwrite a stretch."""
    if not found:
        return
    place = int(rng.integers(len(found)))
    length = int(min(len(found) - place, 2 ** rng.integers(0, 10)))
    kind = int(rng.integers(8))
    if kind <= 1:
        found[place] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        found[place] = int(rng.choice(SPECIAL))
    elif kind == 3:
        size = int(rng.choice([2, 4, 8]))
        value = int(NUMBERS[int(rng.integers(len(NUMBERS)))]) % 2 ** (8 * size)
        found[place : place + size] = value.to_bytes(size, "little")
    elif kind == 4:
        del found[place:]
    elif kind == 5:
        found[place:place] = found[place : place + length]
    elif kind == 6:
        del found[place : place + length]
    else:
        found[place : place + length] = rng.bytes(length)


def damaged_member(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage one member of a zip file and pack it again, so that its checksum fits."""
    into = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(into, "w") as packed:
        names = archive.namelist()
        hit = names[int(rng.integers(len(names)))]
        for name in names:
            raw = archive.read(name)
            packed.writestr(name, damaged(raw[:256], rng) + raw[256:] if name == hit else raw)
    return into.getvalue()


def fuzz(target: str, count: int) -> list[str]:
    """Try the cases of a target; return what went wrong, one line each."""
    failures: list[str] = []
    first = 0
    while first < count:
        words = [sys.executable, str(CHILD), target, str(first), str(count)]
        paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "formats")))
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        said = [line for line in ended.stdout.splitlines() if line.startswith("{")]
        printed = [json.loads(line) for line in said]
        failures += [f"{target} {one['case']}: {one['failure']}" for one in printed if "failure" in one]
        if printed and "end" in printed[-1]:
            return failures
        last = max((one["case"] for one in printed), default=first - 1)
        how = "hung" if ended.returncode == -14 else f"ended with {ended.returncode}"
        failures.append(f"{target} {last}: the child {how}: {ended.stderr.strip()[-300:]}")
        if len(failures) > 20:
            return failures
        first = last + 1
    return failures


def case_rng(target: str, number: int) -> np.random.Generator:
    """Return the random numbers of one case."""
    return stream(0, f"fuzz/{target}", number)
