"""The store's file: one HDF5 file with contiguous columns, mapped at their offset, and one dataset per table column.

    obs (R, obs)   actions (S, act)   rewards (S,)   extras/* (S, ...)   table/* (E,)   stats/*
    attributes: schema = 1, fingerprint, environment, units, provenance, ...   every dataset carries its own digest
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from trajrl.store.column import Column
from trajrl.store.fingerprint import CONTENT_TABLE, combine, digest
from trajrl.store.table import CORE, Table

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.writer import Spool

SCHEMA = 1
RAM_LIMIT_BYTES = 1 << 30  # 'auto' maps larger files
ON_DISK = tuple(name for name in CORE if name != "alive")


def write_file(
    path: Path, spools: dict[str, Spool], table: Table, attributes: dict[str, Any], statistics: dict[str, np.ndarray]
) -> None:
    """Write spooled columns and their table to a new file, flushed to disk."""
    offsets = {}
    with h5py.File(path, "w", libver=("v108", "v110"), alignment_threshold=4096, alignment_interval=4096) as file:
        for name, spool in spools.items():
            dataset = _reserve(file, name, (spool.num_rows, *spool.width), spool.dtype)
            dataset.attrs["digest"] = spool.hash.hexdigest()
            offsets[name] = dataset.id.get_offset()
        for name in (*ON_DISK, *table.extra_names):
            put(file, f"table/{name}", getattr(table, name))
        put(file, "table/source_names", np.array([name.encode() for name in table.sources], dtype=object))
        for name, value in statistics.items():
            put(file, f"stats/{name}", value)
        file.attrs["schema"] = SCHEMA
        file.attrs["fingerprint"] = file_fingerprint(file)
        for name, value in attributes.items():
            if name != "statistics":
                file.attrs[name] = value if isinstance(value, str) else json.dumps(value)
    with path.open("r+b") as out:
        for name, spool in spools.items():
            out.seek(offsets[name])
            with spool.path.open("rb") as rows:
                shutil.copyfileobj(rows, out, 1 << 22)
            spool.path.unlink()
        out.flush()
        os.fsync(out.fileno())


def put(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Write one small dataset with its digest, in place of one of that name."""
    if name in file:
        del file[name]
    if values.dtype == object:
        dataset = file.create_dataset(name, data=values, dtype=h5py.string_dtype())
        dataset.attrs["digest"] = digest(np.frombuffer(b"\0".join(values), np.uint8))
    else:
        dataset = file.create_dataset(name, data=values)
        dataset.attrs["digest"] = digest(values)


def file_fingerprint(file: h5py.File) -> str:
    """Combine the digests of the content; equal to trajrl.store.fingerprint of the same episodes."""
    names = [name for name in datasets(file) if not name.startswith(("table/", "stats/"))]
    names += [f"table/{name}" for name in CONTENT_TABLE]
    described = {name: (file[name].dtype.str, file[name].shape[1:], str(file[name].attrs["digest"])) for name in names}
    return combine(described, source_names(file))


def datasets(file: h5py.File) -> list[str]:
    """Return the names of all datasets; links that leave the file are refused by name."""
    found: list[str] = []

    def walk(group: h5py.Group, prefix: str) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"'{prefix}{name}' is a link to another place; trajrl follows no links")
            item = group[name]
            if isinstance(item, h5py.Group):
                walk(item, f"{prefix}{name}/")
                continue
            if item.is_virtual or item.external:
                raise ValueError(f"'{prefix}{name}' keeps its rows in another file; trajrl follows no links")
            found.append(prefix + name)

    walk(file, "")
    return found


def source_names(file: h5py.File) -> list[str]:
    """Return the sources in order of their code."""
    return [name.decode() if isinstance(name, bytes) else str(name) for name in file["table/source_names"][:]]


def open_file(path: Path) -> h5py.File:
    """Open a store file for reading; anything else fails with one line."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if isinstance(error, PermissionError) or not os.access(path, os.R_OK):
            raise PermissionError(f"{path}: no permission to read it") from error
        raise ValueError(f"{path} is not a whole HDF5 file ({error}); import or copy it again") from error
    if "schema" not in file.attrs:
        file.close()
        raise ValueError(f"{path} is an HDF5 file but not a trajrl store; `python run.py store import {path} --out X.h5` makes one")
    if int(file.attrs["schema"]) > SCHEMA:
        schema = int(file.attrs["schema"])
        file.close()
        raise ValueError(f"{path} has schema {schema}; this trajrl reads up to {SCHEMA}: update trajrl")
    return file


def read_store(path: Path, memory: str = "auto") -> TrajectoryStore:
    """Open a store file, mapped or read into memory."""
    from trajrl.store.store import TrajectoryStore

    if memory not in ("auto", "ram", "map"):
        raise ValueError(f"memory is auto, ram or map; got '{memory}'")
    store = TrajectoryStore()
    with open_file(path) as file:
        try:
            names = datasets(file)
            mapped = memory == "map" or (memory == "auto" and path.stat().st_size > RAM_LIMIT_BYTES)
            columns = {n: _column(file[n], path, mapped, memory) for n in names if not n.startswith(("table/", "stats/"))}
            table = {n.removeprefix("table/"): file[n][:] for n in names if n.startswith("table/") and n != "table/source_names"}
            sources = source_names(file)
            store.attributes = {n: _decode(v) for n, v in file.attrs.items()}
            store.attributes["statistics"] = {n.removeprefix("stats/"): file[n][:] for n in names if n.startswith("stats/")}
            store.obs, store.actions, store.rewards = columns.pop("obs"), columns.pop("actions"), columns.pop("rewards")
        except (KeyError, OSError, RuntimeError) as error:
            raise ValueError(f"{path} is damaged ({error}); import or copy it again") from error
    store.extras = {n.removeprefix("extras/"): column for n, column in columns.items()}
    store.table.extend({n: table.pop(n) for n in ON_DISK}, sources)
    for name, values in table.items():
        store.table.set(name, values, fill=-1 if values.dtype.kind == "i" else 0)
    store.path = path
    return store


def _reserve(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype) -> h5py.Dataset:
    """Create a contiguous dataset whose place in the file is fixed at once and whose rows are written later."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    group, _, leaf = name.rpartition("/")
    parent = file.require_group(group) if group else file
    kind = h5py.h5t.py_create(dtype, logical=True)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(parent.id, leaf.encode(), kind, space, plist))


def _column(dataset: h5py.Dataset, path: Path, mapped: bool, memory: str) -> Column:
    """Map a contiguous dataset at its offset, or read it; a packed one is always read."""
    offset = dataset.id.get_offset()
    if not mapped:
        return Column(dataset[:])
    if offset is None:
        if memory == "map":
            raise ValueError(f"{path} is packed and cannot be mapped; `python run.py store import {path} --out X.h5` unpacks it")
        return Column(dataset[:])
    return Column(np.memmap(path, dataset.dtype, "r", offset, dataset.shape))


def _decode(value: Any) -> Any:
    """Read an attribute back: JSON where it is JSON, text otherwise."""
    if isinstance(value, bytes | str):
        text = value.decode() if isinstance(value, bytes) else value
        return json.loads(text) if text[:1] in "{[" else text
    return value.item() if isinstance(value, np.generic) else value
