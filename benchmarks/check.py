"""Compare this tree's speed with the committed ratios: a loss of more than a fifth fails.

`make bench-check` runs it; `python benchmarks/check.py --write` puts the present ratios into the table.
Ratios of updates are taken in processor time within one run, so that a load changes them little.  The table
has the ratios of each kind of processor apart: those of another kind say nothing here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from trajrl.core.cpu import CPUINFO, kind_of

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_name("ratios.json")
KERNELS = ("kernels", "kernels_fast")  # where there is a compiler, and where it can round
LOSS = 0.2  # share of a ratio that may be lost to noise


def main() -> int:
    """Measure, print every ratio beside the committed one, and return the exit code."""
    parser = argparse.ArgumentParser(description="Compare speed with the committed table.")
    parser.add_argument("--write", action="store_true", help="write the ratios found to the table")
    asked = parser.parse_args()
    found = measure()
    kind, table = kind_of(CPUINFO), json.loads(TABLE.read_text())
    if asked.write:
        TABLE.write_text(json.dumps({**table, kind: found}, indent=2, sort_keys=True) + "\n")
        return 0
    if kind not in table:
        print(f"no ratios are committed for {kind}, only for {', '.join(table)}; --write adds those found:")
        print(json.dumps(found, indent=2))
        return 0
    lost = losses(table[kind], found)
    for line in lost:
        print(line, file=sys.stderr)
    return int(bool(lost))


def measure() -> dict[str, float]:
    """Return every ratio by name; larger is better."""
    update = bench("update")
    found = {"diffusion_ql / plain": update["ratio_cpu"], "bfloat16 / plain": update["bfloat16_ratio"]}
    found |= {f"{name} / plain": update[f"{name}_ratio"] for name in KERNELS if update.get(f"{name}_ratio")}
    found |= {
        f"trajectory_ql H={history} / diffusion_ql": 1 / times
        for history, times in update["trajectory_ql"].items()
    }
    evaluation = bench("evaluate")
    together = {"of 1": evaluation["ratio"], "plain of 1": evaluation["ratio_plain"]}
    return {**found, **{f"evaluation of 10 / {name}": ratio for name, ratio in together.items()}}


def losses(table: dict[str, float], found: dict[str, float]) -> list[str]:
    """Return one line for every committed ratio that was lost."""
    lines = []
    for name, committed in table.items():
        if name not in found:  # of kernels that this machine's compiler does not make
            print(f"{name:<34} not here  committed {committed:6.2f}")
            continue
        print(f"{name:<34} {found[name]:6.2f}   committed {committed:6.2f}")
        if found[name] < (1 - LOSS) * committed:
            lines.append(f"{name} fell from {committed:.2f} to {found[name]:.2f}, by more than {LOSS:.0%}")
    return lines


def bench(name: str) -> dict[str, Any]:
    """Run one benchmark and return its answer."""
    command = [sys.executable, "run.py", "bench", name, "--json"]
    ended = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
