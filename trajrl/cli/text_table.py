"""Aligned tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from shutil import get_terminal_size
from typing import Any

from trajrl.cli.common import say

WIDTH = 110  # columns of a table, unless it is fitted to the terminal


def terminal_width() -> int:
    """Return the columns of the terminal; those of a page where there is none."""
    return max(40, min(140, get_terminal_size((WIDTH, 0)).columns))


def show_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Sequence[str] = (),
    width: int = WIDTH,
    whole: Sequence[str] = (),
) -> None:
    """Say an aligned table; columns in `numbers` are set to the right, those in `whole` are never folded."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD if any(header) else None, show_header=any(header), pad_edge=False)
    for name in header:
        table.add_column(
            name, justify="right" if name in numbers else "left", overflow="fold", no_wrap=name in whole
        )
    for row in rows:
        table.add_row(*row)
    page = StringIO()
    Console(file=page, width=width, color_system=None, markup=False, highlight=False, emoji=False).print(
        table
    )
    say("\n".join(line.rstrip() for line in page.getvalue().rstrip().splitlines()))


def as_text(value: Any) -> str:
    """Write a value for a person: numbers short, names with their counts."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {as_text(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(as_text(item) for item in value) or "none"
    return "none" if value is None else str(value)
