"""csv files of a run: appended to row by row, read back whole rows only, cut back to a step on resume."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from trajrl.core.atomic_files import new_file
from trajrl.core.old_names import metric
from trajrl.core.plain_file import open_to_read, open_to_write


@contextmanager
def writing(path: Path | None) -> Iterator[None]:
    """Turn a failure to write into one line that names the file or folder."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} could not be written: {error.strerror or error}") from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn a file that holds no rows of a run into one line that names it."""
    try:
        yield
    except (csv.Error, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}); move it away, and the rows from the last "
            "checkpoint on are written to a new one"
        ) from error


def read_header(path: Path) -> list[str]:
    """Return the column names of a csv file; none if there is no file, or its first line is cut short."""
    if not path.exists():
        return []
    with reading(path), rows_of(path) as file:
        first = file.readline()
        found = next(csv.reader([first]), []) if first.endswith("\n") else []
    return [metric(name) for name in found]


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the whole rows of a csv file; a row cut short by a crash is left out."""
    if not path.exists():
        return []
    with reading(path), rows_of(path) as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values() and None not in row]
    return [{metric(name): value for name, value in row.items()} for row in rows]


def rows_of(path: Path) -> IO[str]:
    """Open a csv file for reading."""
    return TextIOWrapper(open_to_read(path), newline="")


def append_csv(path: Path, columns: list[str], rows: list[Mapping[str, Any]]) -> None:
    """Append rows, with the header if the file is new."""
    fresh = not path.exists()
    with writing(path), TextIOWrapper(open_to_write(path, "append"), newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        if fresh:
            writer.writeheader()
        writer.writerows(rows)


def rewrite_csv(path: Path, columns: list[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the file anew, whole or not at all."""
    with new_file(path) as scratch, scratch.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def cut_csv(path: Path, step: int) -> None:
    """Keep only the rows up to `step`; a file without a whole first line is removed."""
    columns = read_header(path)
    if columns:
        rows = read_csv(path)
        with reading(path):
            kept = [row for row in rows if int(row["step"]) <= step]
        rewrite_csv(path, columns, kept)
    else:
        path.unlink(missing_ok=True)
