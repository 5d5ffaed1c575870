"""Frames of a LeRobot set in parquet files; one episode is never in two.

v3.0   data/chunk-000/file-000.parquet, at most 100 MB each, an episode in a row group
v2.1   data/chunk-000/episode_000000.parquet
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CHUNK = 1000  # files in a folder
FILE_BYTES = 100 << 20

Columns = dict[str, np.ndarray]


def _info_v3(episodes: int) -> dict[str, Any]:
    return {
        "data_files_size_in_mb": FILE_BYTES >> 20, "video_files_size_in_mb": 200,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
    }  # fmt: skip


def _info_v21(episodes: int) -> dict[str, Any]:
    return {
        "total_videos": 0, "total_chunks": -(-episodes // CHUNK),
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    }  # fmt: skip


VERSIONS: dict[str, Callable[[int], dict[str, Any]]] = {"v2.1": _info_v21, "v3.0": _info_v3}


class FrameFiles:
    """The files below data/, written one after another; use as a context manager."""

    def __init__(self, folder: Path, version: str) -> None:
        self._folder, self._single = folder, version == "v2.1"
        self._file = self._episodes = self._rows = 0
        self._writer: pq.ParquetWriter | None = None

    def write(self, columns: Columns, images: Mapping[str, pa.Array] | None = None) -> dict[str, int]:
        """Write the frames of an episode as a row group; returns where they lie.

        Args:
            images: columns of encoded images
        """
        table = as_table(columns)
        for name, column in (images or {}).items():
            table = table.append_column(name, column)
        if images:  # by which `datasets` knows an image from a structure
            kinds = {"info": {"features": {name: {"_type": "Image"} for name in images}}}
            table = table.replace_schema_metadata({"huggingface": json.dumps(kinds)})
        path = self._path()
        if self._writer is not None and (self._single or path.stat().st_size + table.nbytes > FILE_BYTES):
            self.close()
            self._file += 1
            path = self._path()
        if self._writer is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, table.schema, compression="snappy")
        self._writer.write_table(table, row_group_size=max(1, len(table)))
        first, self._rows = self._rows, self._rows + len(table)
        return {
            "data/chunk_index": self._file // CHUNK, "data/file_index": self._file % CHUNK,
            "dataset_from_index": first, "dataset_to_index": self._rows,
        }  # fmt: skip

    def close(self) -> None:
        """Write the footer of the open file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def __enter__(self) -> FrameFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _path(self) -> Path:
        chunk = f"data/chunk-{self._file // CHUNK:03d}"
        name = f"episode_{self._file:06d}" if self._single else f"file-{self._file % CHUNK:03d}"
        return self._folder / chunk / f"{name}.parquet"


def as_table(columns: Columns) -> pa.Table:
    """Return columns (n, ...) as a table: vectors are lists of a fixed size, matrices lists of lists."""
    return pa.table({name: as_array(rows) for name, rows in columns.items()})


def as_array(rows: np.ndarray) -> pa.Array:
    """Return rows (n, ...) as an arrow array."""
    array = pa.array(np.ascontiguousarray(rows).reshape(-1))
    for axis in reversed(range(1, rows.ndim)):
        if rows.ndim == 2:
            array = pa.FixedSizeListArray.from_arrays(array, rows.shape[axis])
        else:
            offsets = np.arange(0, len(array) + 1, rows.shape[axis], dtype=np.int32)
            array = pa.ListArray.from_arrays(pa.array(offsets), array)
    return array
