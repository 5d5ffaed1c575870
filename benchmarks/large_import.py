"""Import a large file: generate a D4RL file of at least --gigabytes, import it, report the peak of memory.

    python benchmarks/large_import.py --scratch /tmp --gigabytes 4

The import runs in a process of its own; its peak resident memory and speed are printed as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from trajrl.core.rng import stream

OBS, ACT, LENGTH = 45, 24, 200  # the widths of a hand
ROWS = 100_000  # written at a time
IMPORT = """
import json, sys, time
from trajrl.cli.bench.generated import peak_megabytes
from trajrl.formats import import_source, open_source
source = open_source(sys.argv[1])
before, started = peak_megabytes(), time.perf_counter()
found = import_source(source, sys.argv[2])
seconds = time.perf_counter() - started
print(json.dumps({
    "seconds": seconds, "episodes": found["episodes"], "transitions": found["transitions"],
    "opened_rss_mb": before, "peak_rss_mb": peak_megabytes(),
}))
"""


def main() -> None:
    """Generate, import, report, remove."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir()), help="folder for both files"
    )
    options.add_argument("--gigabytes", type=float, default=4.0, help="least size of the generated file")
    chosen = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="trajrl-large-", dir=chosen.scratch))
    try:
        print(json.dumps(measure(folder, int(chosen.gigabytes * 1e9))))
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, size: int) -> dict[str, float]:
    """Generate a file of at least `size` bytes and import it in a fresh process."""
    started = time.perf_counter()
    source = generate(folder / "generated.hdf5", size)
    generated = time.perf_counter() - started
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT, str(source), str(folder / "store.h5")],
        cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(ended.stdout)
    bytes_in, bytes_out = source.stat().st_size, (folder / "store.h5").stat().st_size
    rate = bytes_in / found["seconds"] / 1e6
    return {
        "source_bytes": bytes_in, "store_bytes": bytes_out, "generate_seconds": generated, **found,
        "megabytes_per_second": rate,
    }  # fmt: skip


def generate(path: Path, size: int) -> Path:
    """Write flat D4RL columns of random numbers, block after block."""
    rng = stream(0, "large import")
    count = -(-size // (4 * (2 * OBS + ACT + 1) + 2))
    count += -count % LENGTH
    columns = {"observations": (OBS,), "actions": (ACT,), "rewards": (), "next_observations": (OBS,)}
    with h5py.File(path, "w") as file:
        made = {
            name: file.create_dataset(name, (count, *width), np.float32) for name, width in columns.items()
        }
        flags = {name: file.create_dataset(name, (count,), bool) for name in ("terminals", "timeouts")}
        for first in range(0, count, ROWS):
            rows = min(ROWS, count - first)
            steps = np.arange(first, first + rows)
            obs = rng.uniform(-1, 1, (rows + 1, OBS)).astype(np.float32)
            made["observations"][first : first + rows] = obs[:-1]
            made["next_observations"][first : first + rows] = obs[1:]
            made["actions"][first : first + rows] = rng.uniform(-1, 1, (rows, ACT))
            made["rewards"][first : first + rows] = rng.uniform(0, 1, rows)
            flags["terminals"][first : first + rows] = False
            flags["timeouts"][first : first + rows] = steps % LENGTH == LENGTH - 1
    return path


if __name__ == "__main__":
    main()
