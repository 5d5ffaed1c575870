"""The list of episodes of a LeRobot set: length, task, place and statistics of each, written as they come.

v3.0   meta/tasks.parquet, meta/episodes/chunk-000/file-000.parquet
v2.1   meta/tasks.jsonl, meta/episodes.jsonl, meta/episodes_stats.jsonl
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trajrl.formats.lerobot.stats import Stats
from trajrl.formats.lerobot.writer import as_array

HELD = 1000  # episodes that are written at once

Row = dict[str, Any]


class Listing3:
    """The list of version 3.0; use as a context manager."""

    def __init__(self, meta: Path, tasks: list[str]) -> None:
        import pandas as pd

        self._path = meta / "episodes" / "chunk-000" / "file-000.parquet"
        self._path.parent.mkdir(parents=True)
        frame = pd.DataFrame({"task_index": np.arange(len(tasks))}, index=pd.Index(tasks, name="task"))
        frame.to_parquet(meta / "tasks.parquet")
        self._rows: list[tuple[Row, dict[str, Stats], Row]] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, row: Row, stats: dict[str, Stats], own: Row) -> None:
        """Take in an episode: its row, the statistics of its columns, and what is trajrl's own."""
        self._rows.append((row, stats, own))
        if len(self._rows) == HELD:
            self._flush()

    def __enter__(self) -> Listing3:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rows and error is None:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        table = _table(self._rows)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="snappy")
        self._writer.write_table(table)
        self._rows = []


def _table(rows: list[tuple[Row, dict[str, Stats], Row]]) -> pa.Table:
    """Return episodes as a table, with one column for each statistic of each feature."""
    columns: dict[str, Any] = {name: [row[name] for row, _, _ in rows] for name in rows[0][0]}
    for feature, found in rows[0][1].items():
        for name in found:
            values = np.stack([np.atleast_1d(stats[feature][name]) for _, stats, _ in rows])
            exact = name in ("min", "max", "count") and values.dtype.kind in "biu"
            kind = values.dtype if values.dtype.kind == "b" else np.dtype(np.int64)
            columns[f"stats/{feature}/{name}"] = values.astype(kind if exact else np.float64).tolist()
    zeros = [0] * len(rows)
    columns |= {"meta/episodes/chunk_index": zeros, "meta/episodes/file_index": zeros}
    for name in ("terminated", "success", "source"):
        columns[f"trajrl/{name}"] = [own[name] for _, _, own in rows]
    final = np.array([own["final"] for _, _, own in rows], np.float32)
    return pa.table({**columns, **({"trajrl/final": as_array(final)} if final.size else {})})


class Listing21:
    """The list of version 2.1; use as a context manager."""

    def __init__(self, meta: Path, tasks: list[str]) -> None:
        meta.mkdir(parents=True)
        self._open = ExitStack()
        with (meta / "tasks.jsonl").open("w") as file:
            for index, task in enumerate(tasks):
                _line(file, {"task_index": index, "task": task})
        self._episodes = self._open.enter_context((meta / "episodes.jsonl").open("w"))
        self._stats = self._open.enter_context((meta / "episodes_stats.jsonl").open("w"))

    def add(self, row: Row, stats: dict[str, Stats], own: Row) -> None:
        """Take in an episode: its row, the statistics of its columns, and what is trajrl's own."""
        kept = {name: row[name] for name in ("episode_index", "tasks", "length")}
        _line(self._episodes, {**kept, "trajrl": own})
        plain = {
            feature: {name: np.atleast_1d(value).tolist() for name, value in found.items()}
            for feature, found in stats.items()
        }
        _line(self._stats, {"episode_index": row["episode_index"], "stats": plain})

    def __enter__(self) -> Listing21:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def _line(file: IO[str], row: Row) -> None:
    file.write(json.dumps(row) + "\n")


LISTINGS: dict[str, type[Listing3] | type[Listing21]] = {"v2.1": Listing21, "v3.0": Listing3}
