"""Members of an npz written row by row, so that a store larger than memory can be exported."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np


class NpzWriter:
    """An npz under construction; a context manager."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)

    def array(self, name: str, values: np.ndarray) -> None:
        """Write a member held in memory."""
        values = np.ascontiguousarray(values)
        self.column(name, values.shape, values.dtype, [values])

    def column(self, name: str, shape: tuple[int, ...], dtype: np.dtype, parts: Iterable[np.ndarray]) -> None:
        """Write a member of `shape` from consecutive parts of its rows."""
        dtype = np.dtype(dtype)
        with self._archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            for part in parts:
                member.write(np.ascontiguousarray(part, dtype).tobytes())

    def __enter__(self) -> NpzWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()
