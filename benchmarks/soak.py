"""Soak: online training on the toy environment for a long time; its memory must be flat after the start.

    python benchmarks/soak.py --minutes 120     start: ten minutes, or a fifth of a shorter soak

Memory is the resident set of the training process, read every two seconds.  Exit code 1 if after the start it
leaves its median by more than 5 %, or if the run does not end with a checkpoint.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
QUICK = [
    "eval_every=2000",
    "eval_episodes=2",
    "last_eval_episodes=2",
    "checkpoint_every=1000",
    "log_every=200",
]
LIMIT = 0.05


def program(*words: str) -> list[str]:
    """Return the words of a command of trajrl."""
    return [sys.executable, str(ROOT / "run.py"), *words]


def prepare(folder: Path) -> None:
    """Record a random policy, and learn a little from it offline."""
    store, run = str(folder / "toy.h5"), str(folder / "offline")
    collect = program("collect", "--env", "toy:point", "--policy", "random", "--steps", "600", "--out", store)
    subprocess.run(collect, check=True, capture_output=True)
    line = ["offline", "--data", store, "--agent", "td3_bc", "--steps", "50", "--out", run, "--set", *QUICK]
    subprocess.run(program(*line), check=True, capture_output=True)


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def soak(folder: Path, minutes: float) -> dict[str, float]:
    """Train online for so many minutes, read the memory, and stop as Ctrl-C does."""
    words = ["online", "--from", str(folder / "offline"), "--out", str(folder / "online")]
    words += ["--env-steps", str(10**9), "--learning-starts", "100", "--warmup-steps", "200", "--set", *QUICK]
    start, seen = min(600.0, 12 * minutes), []
    with (folder / "log.txt").open("w") as log:
        began = time.monotonic()
        child = subprocess.Popen(program(*words), stdout=log, stderr=log)
        while (passed := time.monotonic() - began) < 60 * minutes and child.poll() is None:
            time.sleep(2)
            if passed > start and child.poll() is None:
                seen.append(resident(child.pid))
        child.send_signal(signal.SIGINT)
        code = child.wait(timeout=120)
    whole = code == 130 and (folder / "online" / "checkpoints" / "latest").exists()
    if not whole or not seen:
        raise SystemExit(f"the run ended with {code}:\n{(folder / 'log.txt').read_text()[-2000:]}")
    middle, steps = statistics.median(seen), steps_taken(folder / "online")
    spread = max(abs(value / middle - 1) for value in seen)
    return {
        "minutes": minutes, "start_seconds": start, "readings": len(seen), "median_mib": middle,
        "least_mib": min(seen), "most_mib": max(seen), "first_mib": seen[0], "last_mib": seen[-1],
        "largest_departure": spread, "env_steps": steps,
    }  # fmt: skip


def steps_taken(run: Path) -> int:
    """Return the environment step of the newest checkpoint."""
    return int((run / "checkpoints" / "latest").read_text().strip().removeprefix("step-"))


def main() -> int:
    """Soak and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120.0)
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        found = soak(Path(folder), parser.parse_args().minutes)
    print(json.dumps({name: round(value, 4) for name, value in found.items()}))
    return int(found["largest_departure"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
