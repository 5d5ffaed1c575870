"""Aligned tables for people."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from io import StringIO
from shutil import get_terminal_size
from textwrap import fill
from typing import Any

from trajrl.cli.common import say

WIDTH = 110  # columns of a table, unless it is fitted to the terminal
LEAST, GAP = 6, 3  # columns of text that is folded, and between two columns


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
    """Say an aligned table, or where it does not fit a paragraph for each row.

    Args:
        numbers: columns that are set to the right and never folded
        whole: further columns that are never folded
    """
    rows = [tuple(row) for row in rows]
    if any(header) and _least_width(header, rows, {*numbers, *whole}) > width:
        for row in rows:
            _show_paragraph(header, row, width)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD if any(header) else None, show_header=any(header), pad_edge=False)
    for name in header:
        table.add_column(
            name,
            justify="right" if name in numbers else "left",
            overflow="fold",
            no_wrap=name in (*numbers, *whole),
        )
    for row in rows:
        table.add_row(*row)
    page = StringIO()
    Console(file=page, width=width, color_system=None, markup=False, highlight=False, emoji=False).print(
        table
    )
    say("\n".join(line.rstrip() for line in page.getvalue().rstrip().splitlines()))


def _least_width(header: Sequence[str], rows: Sequence[Sequence[str]], unfolded: Container[str]) -> int:
    """Return how narrow a table can be."""
    columns = zip(header, zip(*rows)) if rows else ()
    needed = [
        max(len(name), *map(len, cells)) if name in unfolded else LEAST for name, cells in columns
    ]  # fmt: skip
    return sum(needed) + GAP * max(0, len(needed) - 1) + 2


def _show_paragraph(header: Sequence[str], row: Sequence[str], width: int) -> None:
    """Say one row: its first cell, and below it the others, each behind the name of its column."""
    say(row[0])
    lines: list[str] = []
    for part in (f"{name} {cell}".strip() for name, cell in zip(header[1:], row[1:]) if cell):
        joined = f"{lines[-1]}, {part}" if lines else part
        if lines and len(joined) + 2 <= width:
            lines[-1] = joined
        else:
            lines.append(part)
    for line in lines:  # what is one word, such as a path, stays one
        say(
            fill(
                line, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False,
                break_long_words=False,
            )
        )  # fmt: skip


def as_text(value: Any) -> str:
    """Write a value for a person: numbers short, names with their counts."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {as_text(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(as_text(item) for item in value) or "none"
    return "none" if value is None else str(value)
