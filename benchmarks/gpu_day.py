"""Everything that a GPU should be asked, in one command whose answer is bounded by --minutes.

    python benchmarks/gpu_day.py --minutes 25 --out DIR
    python benchmarks/gpu_day.py --minutes 25 --out DIR --only runs --data hopper.h5

    recorded   for every agent: a recorded update (CUDA graph) does what the eager one does
    paths      updates per second eager, compiled, recorded, in bfloat16, with TF32
    batch      the recorded update at batch 256 to 8,192
    store      windows gathered from a store on the device, in pinned memory, on the host
    seeds      1 to 32 seeds as one program
    runs       1,000,000 updates of two agents beside evaluations on the CPU, then acfql on a cube's shapes

A row is in DIR/rows.jsonl before the next measurement begins, so that a cut run loses nothing; a table ends
it.  On a CPU, for trying it: --device cpu, at toy size, where a tracer stands for CUDA graphs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from gpu_day_parts import batches, paths, recorded, seeds, stores
from gpu_day_runs import runs
from gpu_day_sizes import FULL, TOY, Sizes

from trajrl.cli.text_table import show_table
from trajrl.core.cpu import set_threads

SHARES = {
    "recorded": 0.1,
    "paths": 0.2,
    "batch": 0.1,
    "store": 0.05,
    "seeds": 0.1,
}  # of the time, beside runs
COLUMNS = ("part", "agent", "what", "updates/s", "peak MiB", "note")


@dataclass
class Book:
    """Writes rows as they come, and knows how much time is left."""

    out: Path
    device: torch.device
    sizes: Sizes
    minutes: float
    options: argparse.Namespace
    rows: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    until: float = 0.0  # of the part under way, in seconds since the beginning
    left_out: list[str] = field(default_factory=list)  # of that part, for want of time

    @property
    def seconds(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Return the seconds that the part under way still has."""
        return self.until - self.seconds

    def begin(self, name: str, others: Sequence[str]) -> None:
        """Give a part its share of the time that is left, beside the parts after it."""
        shares = {**SHARES, "runs": self.sizes.runs_share}
        whole = sum(shares[other] for other in (name, *others))
        self.until = self.seconds + (60 * self.minutes - self.seconds) * shares[name] / whole

    def end(self, name: str) -> None:
        """Say what a part left out."""
        if self.left_out:
            self.row(name, "", f"{len(self.left_out)} left out", note="no time: " + "; ".join(self.left_out))
        self.left_out = []

    def due(self, what: str) -> bool:
        """Say whether there is time for one more; what there is none for is kept, to be named."""
        if self.left < 0:
            self.left_out.append(what)
        return self.left >= 0

    def row(self, part: str, agent: str, what: str, **found: Any) -> None:
        """Keep a row, on disk before this returns, and print it."""
        line = {"part": part, "agent": agent, "what": what, **found, "device": self.device.type}
        self.rows.append(line)
        with (self.out / "rows.jsonl").open("a") as file:
            file.write(json.dumps({**line, "at_seconds": round(self.seconds, 1)}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(f"{self.seconds:6.0f} s  {part:<9} {agent:<14} {what:<24} {told(found)}", flush=True)


PARTS: dict[str, Callable[[Book], None]] = {
    "recorded": recorded, "paths": paths, "batch": batches, "store": stores, "seeds": seeds, "runs": runs,
}  # fmt: skip


def told(found: dict[str, Any]) -> str:
    """Write what a row found."""
    return "  ".join(f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value}"
                     for name, value in found.items())  # fmt: skip


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the numbers belong to."""
    found: dict[str, Any] = {
        "torch": torch.__version__, "cores": os.cpu_count(), "load": os.getloadavg()[0],
        "processor": processor(), "card": "none",
    }  # fmt: skip
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        found |= {
            "card": card.name,
            "card_gib": round(card.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
        }
    return found


def processor() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def table(rows: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return the rows as texts."""
    known = ("part", "agent", "what", "updates_per_second", "peak_mib", "device")
    return [
        (
            row["part"], row["agent"], row["what"], number(row.get("updates_per_second")),
            number(row.get("peak_mib")), told({k: v for k, v in row.items() if k not in known}),
        ) for row in rows
    ]  # fmt: skip


def number(value: float | None) -> str:
    """Write a number, or nothing."""
    return "" if value is None else f"{value:,.1f}"


def main(words: Sequence[str] | None = None) -> int:
    """Measure, part after part; returns 1 where a recorded update is not the eager one."""
    parser = argparse.ArgumentParser(description="Everything that a GPU should be asked.")
    parser.add_argument("--minutes", type=float, default=25.0, help="after which nothing new begins")
    parser.add_argument("--out", type=Path, required=True, help="folder of rows.jsonl and of the runs")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or, at toy size, cpu")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure")
    parser.add_argument(
        "--data", default="", help="a store for the first runs; none: numbers in hopper's shape"
    )
    asked = parser.parse_args(words)
    device = torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error(f"there is no device '{asked.device}' here; --device cpu tries everything at toy size")
    if asked.minutes <= 0:
        parser.error(f"--minutes is above 0; got {asked.minutes:g}")
    set_threads()
    asked.out.mkdir(parents=True, exist_ok=True)
    book = Book(asked.out, device, FULL if device.type == "cuda" else TOY, asked.minutes, asked)
    book.row("machine", "", str(device), **machine(device))
    todo = [name for name in PARTS if name in asked.only]
    for place, name in enumerate(todo):
        book.begin(name, todo[place + 1 :])
        PARTS[name](book)
        book.end(name)
    show_table(COLUMNS, table(book.rows))
    print(f"{len(book.rows)} rows in {asked.out / 'rows.jsonl'}, {book.seconds / 60:.1f} minutes")
    return int(any(row.get("same") is False for row in book.rows))


if __name__ == "__main__":
    sys.exit(main())
