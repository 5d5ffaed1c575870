"""Open a store file: columns are mapped at their offset or read into memory, the table is always read."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from trajrl.core.damage import DAMAGE
from trajrl.core.program import program
from trajrl.store.column import Column
from trajrl.store.file.hdf5 import (
    ON_DISK,
    damaged,
    datasets,
    is_column,
    open_file,
    read_attributes,
    source_names,
)
from trajrl.store.images import owns_last
from trajrl.store.table import PHASES, Table

RAM_LIMIT_BYTES = 1 << 30  # 'auto' maps larger files
MEMORY = ("auto", "map", "ram")


class Parts(NamedTuple):
    """What a store file holds, read and checked: what a TrajectoryStore is made of."""

    columns: dict[str, Column]  # obs, actions, rewards, extras/*
    table: Table
    attributes: dict[str, Any]  # with "statistics"


def read_parts(path: Path, memory: str = "auto") -> Parts:
    """Open a store file, mapped or read into memory."""
    if memory not in MEMORY:
        raise ValueError(f"memory is auto, map or ram; got '{memory}'")
    with open_file(path) as file:
        try:
            names = datasets(file)
            packed = any(file[name].chunks for name in names if is_column(name))
            if packed and memory == "map":
                unpack = f"`{program()} store import {path} --out X.h5` unpacks it"
                raise PermissionError(f"{path} is packed and cannot be mapped; {unpack}")
            small = path.stat().st_size <= RAM_LIMIT_BYTES
            mapped = memory == "map" or (memory == "auto" and not packed and not small)
            parts = _read(file, names, mapped)
            check_fit(parts.columns, parts.table)
        except PermissionError as error:
            raise ValueError(str(error)) from error
        except DAMAGE as error:
            raise damaged(path, error) from error
    return parts


def _read(file: h5py.File, names: list[str], mapped: bool) -> Parts:
    """Read the table and the attributes; map or read the columns."""
    # One map of the open file, not of its name: the name may by now belong to a newer store.
    buffer = mmap.mmap(file.id.get_vfd_handle(), 0, access=mmap.ACCESS_READ) if mapped else None
    columns = {name: Column(_rows(file[name], buffer)) for name in names if is_column(name)}
    return Parts(columns, read_table(file, names), facts(file, names))


def facts(file: h5py.File, names: list[str]) -> dict[str, Any]:
    """Read the attributes, and the statistics with them."""
    statistics = [name for name in names if name.startswith("stats/")]
    kept = {name.removeprefix("stats/"): file[name][:] for name in statistics}
    return {**read_attributes(file), "statistics": kept}


def read_table(file: h5py.File, names: list[str]) -> Table:
    """Read the episode table; numbers that stand for no name are refused."""
    columns = {name.removeprefix("table/"): file[name][:] for name in names if name.startswith("table/")}
    del columns["source_names"]
    sources = source_names(file)
    for name, size in {"source_code": len(sources), "phase": len(PHASES)}.items():
        if ((columns[name] < 0) | (columns[name] >= size)).any():
            raise ValueError(f"table/{name} has a number that stands for nothing")
    table = Table()
    table.extend({name: columns.pop(name) for name in ON_DISK}, sources)
    for name, values in columns.items():
        table.set(name, values, fill=-1 if values.dtype.kind == "i" else 0)
    return table


def _rows(dataset: h5py.Dataset, buffer: mmap.mmap | None) -> np.ndarray:
    """Return a view of a dataset in the map, or a copy of it."""
    if buffer is None or not dataset.size:
        return dataset[:]
    count = int(np.prod(dataset.shape))
    return np.frombuffer(buffer, dataset.dtype, count, dataset.id.get_offset()).reshape(dataset.shape)


def check_fit(columns: Mapping[str, Sized], table: Table) -> None:
    """Refuse a file whose columns and table do not fit: windows would be read from the wrong place."""
    length, steps, rows = table.length, len(columns["actions"]), len(columns["obs"])
    if not (len(table) and (length >= 1).all() and (table.start == np.cumsum(length) - length).all()):
        raise ValueError("table/start and table/length do not describe episodes one after the other")
    if int(length.sum()) != steps:
        raise ValueError(f"table/length adds up to {int(length.sum())} steps; actions has {steps}")
    if rows != steps + len(table):
        raise ValueError(
            f"obs has {rows} rows; {steps} steps in {len(table)} episodes need {steps + len(table)}"
        )
    for name, column in columns.items():
        if owns_last(name):
            if len(column) != rows:
                raise ValueError(f"{name} has {len(column)} frames; obs has {rows} rows")
        elif len(column) != steps:
            raise ValueError(f"{name.removeprefix('extras/')} has {len(column)} rows; actions has {steps}")
