"""What other kinds of processor are known for: the committed ratios, which this machine cannot measure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from trajrl.core.paths import PLACE

RATIOS = PLACE / "benchmarks" / "ratios.json"
OF_UPDATES = ("diffusion_ql / plain", "bfloat16 / plain")


def other_kinds(kind: str, table: Path = RATIOS) -> dict[str, dict[str, float]]:
    """Return the last ratios of updates of every kind but this; none where the table is not at hand."""
    if not table.exists():
        return {}
    rows: Mapping[str, Mapping[str, float]] = json.loads(table.read_text())
    return {
        other: {name: row[name] for name in OF_UPDATES if name in row}
        for other, row in sorted(rows.items())
        if other != kind
    }


def told(kind: str, others: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Yield a line for each other kind, and one that says so where there is none."""
    for other, row in others.items():
        ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in row.items())
        yield f"this is {kind}; on {other} it was last {ratios}"
    if not others:
        yield f"this is {kind}; no other kind of processor has a row in {RATIOS.name}"
